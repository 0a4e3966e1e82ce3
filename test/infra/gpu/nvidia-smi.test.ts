import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { findGpus, parseGpus, visibleGpus } from "../../../infra/gpu/nvidia-smi.js";
import { fakeNvidiaSmi, TABLES } from "./fake-nvidia-smi.js";

const root = mkdtempSync(join(tmpdir(), "roslin-gpus-"));
after(() => rmSync(root, { recursive: true, force: true }));

test("GPUs are read with their UUIDs, and memory in bytes", () => {
  const [, second] = parseGpus(TABLES.two)!;
  assert.deepEqual(second, {
    index: 1,
    uuid: "GPU-77d0e1c2-93aa-4e0b-8c57-2f1b7c9d4e02",
    name: "NVIDIA A100-SXM4-80GB",
    memory: 81920 * 2 ** 20,
    used: 612 * 2 ** 20,
    driver: "535.104.05",
    computeMode: "Default",
    eccErrors: 0,
    mig: false,
  });
});

test("a GPU that counts no memory errors and has no instances is one without", () => {
  const [gpu] = parseGpus(TABLES.workstation)!;
  assert.equal(gpu!.eccErrors, null);
  assert.equal(gpu!.mig, false);
});

test("a table of another form is not taken for GPUs", () => {
  assert.equal(parseGpus("index, uuid\n0, GPU-1"), null);
  assert.deepEqual(parseGpus("\n"), []);
});

test("why there is no GPU is said in a few words", async () => {
  const why = async (words: string | null, exitCode = 0): Promise<string> => {
    const bin = mkdtempSync(join(root, "bin-"));
    if (words !== null) fakeNvidiaSmi(bin, words, exitCode);
    const found = await findGpus({ PATH: bin });
    assert.ok("why" in found);
    return found.why;
  };
  assert.match(await why(null), /not on PATH: no NVIDIA driver is installed here/);
  assert.match(await why(TABLES.noDriver, 9), /nvidia-smi fails: NVIDIA-SMI has failed because it couldn't communicate/);
  assert.match(await why(TABLES.none, 6), /the driver finds no GPU/);
  assert.match(await why("Usage: nvidia-smi"), /cannot be read: Usage/);
});

test("GPUs that the tool lists are found", async () => {
  const bin = mkdtempSync(join(root, "bin-"));
  fakeNvidiaSmi(bin, TABLES.two);
  assert.equal((await findGpus({ PATH: bin })).gpus.length, 2);
});

test("CUDA_VISIBLE_DEVICES chooses by number or UUID, and ends at what is not there", () => {
  const gpus = parseGpus(TABLES.odd)!;
  const chosen = (visible: string | undefined): number[] => visibleGpus(gpus, visible).map(({ index }) => index);
  assert.deepEqual(chosen(undefined), [0, 1, 2]);
  assert.deepEqual(chosen("2,0"), [2, 0]);
  assert.deepEqual(chosen("GPU-cccc, GPU-aaaaaaaa-0000-0000-0000-000000000001"), [2, 0]);
  assert.deepEqual(chosen("1,7,2"), [1]);
  assert.deepEqual(chosen("1,1"), [1]);
  assert.deepEqual(chosen(""), []);
  assert.deepEqual(chosen("-1"), []);
});
