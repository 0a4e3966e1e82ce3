import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { chooseGpus, deviceVariables, ownDevice } from "../../../infra/gpu/choose-gpus.js";
import { parseGpus, type FoundGpus } from "../../../infra/gpu/nvidia-smi.js";
import { TABLES } from "./fake-nvidia-smi.js";

const machine = (table: string) => (): Promise<FoundGpus> => Promise.resolve({ gpus: parseGpus(table)! });
const none = (): Promise<FoundGpus> => Promise.resolve({ gpus: [], why: "the driver finds no GPU" });
const two = machine(TABLES.two);
const odd = machine(TABLES.odd);

test("every GPU is taken, or so many as there are workers", async () => {
  assert.deepEqual(
    (await chooseGpus({}, null, two)).map(({ index }) => index),
    [0, 1],
  );
  assert.deepEqual(
    (await chooseGpus({}, 1, two)).map(({ index }) => index),
    [0],
  );
  assert.deepEqual(
    (await chooseGpus({ CUDA_VISIBLE_DEVICES: "1" }, null, two)).map(({ index }) => index),
    [1],
  );
  assert.deepEqual(
    (await chooseGpus({}, 1, odd)).map(({ index }) => index),
    [2],
  );
});

test("no GPU, or fewer than workers, is refused by name", async () => {
  const refused = (message: RegExp, variables: Record<string, string>, wanted: number | null, find: typeof none): Promise<void> =>
    assert.rejects(chooseGpus(variables, wanted, find), (error: Error) => error instanceof UserError && message.test(error.message));
  await refused(/no GPUs to start workers on: leave out --gpus .*\[got=the driver finds no GPU\]/, {}, null, none);
  await refused(/no GPUs .*CUDA_VISIBLE_DEVICES=\]/, { CUDA_VISIBLE_DEVICES: "" }, null, two);
  await refused(/too few GPUs for 3 workers.*\[found=GPU 0 NVIDIA A100-SXM4-80GB, GPU 1 NVIDIA A100-SXM4-80GB\]/, {}, 3, two);
  await refused(/too few GPUs for 2 workers.*\[found=GPU 1 .*, CUDA_VISIBLE_DEVICES=1\]/, { CUDA_VISIBLE_DEVICES: "1" }, 2, two);
  await refused(/GPU 0 .* \(its compute mode is Prohibited\), GPU 1 .* \(it is cut into MIG instances\), GPU 2 [^(]*\]/, {}, null, odd);
});

test("a worker knows its device from its variables, and one on the CPU sees none", async () => {
  const [, gpu] = await chooseGpus({}, null, two);
  const variables = deviceVariables(gpu!);
  assert.equal(variables["CUDA_VISIBLE_DEVICES"], gpu!.uuid);
  assert.deepEqual(ownDevice(variables), { uuid: gpu!.uuid, name: "NVIDIA A100-SXM4-80GB", memory: 81920 * 2 ** 20 });
  assert.equal(deviceVariables(null)["CUDA_VISIBLE_DEVICES"], "");
  assert.equal(ownDevice(deviceVariables(null)), null);
  assert.equal(ownDevice({}), null);
});
