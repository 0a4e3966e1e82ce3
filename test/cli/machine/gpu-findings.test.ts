import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gpuFindings, type Finding } from "../../../cli/machine/gpu-findings.js";
import { sha256 } from "../../../infra/disk/files.js";
import { CHECKOUT } from "../../../workers/environment.js";
import { fakeNvidiaSmi, TABLES } from "../../infra/gpu/fake-nvidia-smi.js";

const root = mkdtempSync(join(tmpdir(), "roslin-findings-"));
after(() => rmSync(root, { recursive: true, force: true }));

/** A home with an environment whose Python prints these words. */
function homeWith(words: string): string {
  const home = mkdtempSync(join(root, "home-"));
  const name = sha256(readFileSync(join(CHECKOUT, "engines", "deepspeed", "requirements.lock"), "utf8")).slice(0, 16);
  const directory = join(home, "engines", "deepspeed", name);
  mkdirSync(join(directory, "bin"), { recursive: true });
  writeFileSync(join(directory, "bin", "python"), `#!${process.execPath}\nconsole.log(${JSON.stringify(words)});\n`);
  chmodSync(join(directory, "bin", "python"), 0o755);
  const versions = {
    python: "3.12.4",
    torch: "2.15.0+cu132",
    deepspeed: "0.19.8",
    transformers: "5.24.0",
    peft: "0.21.2",
    cuda: "13.2",
    nccl: "2.30.7",
  };
  writeFileSync(join(directory, "versions.json"), JSON.stringify(versions));
  return home;
}

async function findings(table: string | null, home: string): Promise<readonly Finding[]> {
  const bin = mkdtempSync(join(root, "bin-"));
  if (table !== null) fakeNvidiaSmi(bin, table);
  return gpuFindings({ variables: { PATH: bin }, checkout: CHECKOUT, home });
}

const remedies = (found: readonly Finding[]): string[] =>
  found.flatMap(({ name, remedy }) => (remedy === undefined ? [] : [`${name}: ${remedy}`]));

test("a machine without a GPU or DeepSpeed lacks nothing, and is told so in two lines", async () => {
  const found = await findings(null, root);
  assert.deepEqual(remedies(found), []);
  assert.deepEqual(
    found.map(({ name }) => name),
    ["GPUs", "DeepSpeed"],
  );
  assert.match(found[0]!.found, /^none: nvidia-smi is not on PATH/);
  assert.match(found[1]!.found, /^not set up: roslin setup --deepspeed makes/);
});

test("each GPU has a line, and a machine that has some is told to set up CUDA's packages", async () => {
  const found = await findings(TABLES.two, root);
  assert.match(found[0]!.found, /^NVIDIA A100-SXM4-80GB, 85\.9 GB, driver 535\.104\.05, compute mode Default, 0 memory errors$/);
  assert.match(found[2]!.found, /roslin setup --deepspeed --cuda/);
  assert.deepEqual(remedies(found), []);
});

test("a GPU that cannot be used, and one with memory errors, have a remedy", async () => {
  const [prohibited, cut, faulty] = remedies(await findings(TABLES.odd, root));
  assert.match(prohibited!, /^GPU 0: no worker can compute on it, because its compute mode is Prohibited/);
  assert.match(cut!, /^GPU 1: .*MIG instances/);
  assert.match(faulty!, /^GPU 2: its memory has errors/);
});

test("versions of the environment are listed, and how many GPUs torch sees", async () => {
  const all = await findings(TABLES.two, homeWith('a warning\n{"gpus": 2, "why": null}'));
  assert.deepEqual(remedies(all), []);
  assert.match(all[2]!.found, /^0\.19\.8, torch 2\.15\.0\+cu132, transformers 5\.24\.0, Python 3\.12\.4, NCCL 2\.30\.7$/);
  assert.equal(all[3]!.found, "torch sees 2 of 2 GPUs");
  const old = await findings(TABLES.two, homeWith('{"gpus": 0, "why": "The NVIDIA driver on your system is too old"}'));
  assert.match(old[3]!.found, /torch sees 0 of 2 GPUs \(The NVIDIA driver on your system is too old\)/);
  assert.match(remedies(old)[0]!, /^torch on GPUs: .*--cuda.*newer driver/);
});
