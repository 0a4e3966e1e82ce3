import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { planMachine } from "../../../cli/machine/local-machine.js";
import { parseGpus } from "../../../infra/gpu/nvidia-smi.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { TABLES } from "../../infra/gpu/fake-nvidia-smi.js";

const home = mkdtempSync(join(tmpdir(), "roslin-machine-"));
after(() => rmSync(home, { recursive: true }));
const environment = readEnvironment(
  { PATH: "/usr/bin", ROSLIN_HOME: home, ROSLIN_S3: "external", TEMPORAL_ADDRESS: "127.0.0.1:1", CUDA_VISIBLE_DEVICES: "0,1" },
  CHECKOUT,
);

/** The variables of each GPU worker that would be started. */
async function workers(wanted: Parameters<typeof planMachine>[1]): Promise<Readonly<Record<string, string | undefined>>[]> {
  const { groups } = await planMachine(environment, wanted, () => undefined, new AbortController().signal);
  return groups.flat().flatMap(({ name, variables }) => (name.startsWith("gpu-") ? [variables] : []));
}

test("each worker is given one GPU by its UUID", async () => {
  const gpus = parseGpus(TABLES.two)!;
  const started = await workers(gpus);
  assert.deepEqual(
    started.map((variables) => variables["CUDA_VISIBLE_DEVICES"]),
    gpus.map(({ uuid }) => uuid),
  );
  assert.deepEqual(
    started.map((variables) => `${variables["ROSLIN_SLOT"]} of ${variables["ROSLIN_SLOTS"]}`),
    ["0 of 2", "1 of 2"],
  );
});

test("workers on the CPU see no GPU", async () => {
  assert.deepEqual(
    (await workers(3)).map((variables) => variables["CUDA_VISIBLE_DEVICES"]),
    ["", "", ""],
  );
});
