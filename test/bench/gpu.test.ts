import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { CHECKOUT } from "../../workers/environment.js";

/** bench/gpu.sh: what it refuses before it sets anything up. The rest needs DeepSpeed, and minutes. */

const SCRIPT = join(CHECKOUT, "bench", "gpu.sh");

function run(
  args: readonly string[],
  variables: NodeJS.ProcessEnv = process.env,
): { readonly status: number | null; readonly said: string } {
  const { status, stderr } = spawnSync("bash", [SCRIPT, ...args], { encoding: "utf8", env: variables });
  return { status, said: stderr };
}

test("options that are wrong, or that need another one, are refused with the usage", () => {
  for (const args of [["--gpu"], ["--steps"], ["--steps", "ten"], ["--steps", "5"], ["--model", CHECKOUT], ["--dataset", SCRIPT]]) {
    const { status, said } = run(args);
    assert.equal(status, 2, args.join(" "));
    assert.match(said, /^usage: bench\/gpu\.sh /m, args.join(" "));
  }
});

test("torch must see the GPUs that nvidia-smi lists, and nothing is left behind", (t) => {
  const root = mkdtempSync(join(tmpdir(), "gpu-sh-"));
  t.after(() => rmSync(root, { recursive: true }));
  const bin = join(root, "bin");
  const temporary = join(root, "tmp");
  for (const directory of [bin, temporary]) mkdirSync(directory);
  const stand = (name: string, text: string): void => writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  stand("nvidia-smi", 'echo "GPU 0: a GPU (UUID: GPU-1)"');
  const variables = { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"]}`, TMPDIR: temporary };
  // in place of roslin, which would set DeepSpeed up
  stand("node", 'shift; [ "$1" != doctor ] || { echo "problem: torch sees 0 of 1 GPUs"; exit 1; }');
  const { status, said } = run([], variables);
  assert.equal(status, 2, said);
  assert.match(said, /torch sees 0 of 1 GPUs[^]*torch sees no GPU: see above/);
  assert.deepEqual(readdirSync(temporary), []);

  stand("node", "exit 3");
  stand("nvidia-smi", "exit 9");
  assert.match(run([], variables).said, /no GPU is found, so DeepSpeed computes on the CPU/);
  assert.deepEqual(readdirSync(temporary), []);
});
