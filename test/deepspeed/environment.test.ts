import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findEnvironment, gpusSeen, setUpEnvironment } from "../../engines/deepspeed/environment.js";
import { findGpus } from "../../infra/gpu/nvidia-smi.js";
import { runPython } from "../../infra/python/pip.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";

/** What `roslin setup --deepspeed` really made. */

const { home, variables } = readEnvironment(process.env, CHECKOUT);
const run = { variables, signal: new AbortController().signal };

test("the environment has the locked versions", async () => {
  const { versions } = (await findEnvironment(CHECKOUT, home))!;
  const list = readFileSync(join(CHECKOUT, "engines", "deepspeed", "requirements.txt"), "utf8");
  for (const name of ["torch", "deepspeed", "transformers", "peft"] as const)
    assert.equal(versions[name].split("+")[0], new RegExp(`^${name}==(.*)$`, "m").exec(list)![1], name);
});

test("a second set-up has nothing to do", async () => {
  const said: string[] = [];
  const found = await setUpEnvironment({ checkout: CHECKOUT, home, cuda: false }, (line) => void said.push(line), run);
  assert.deepEqual(found, await findEnvironment(CHECKOUT, home));
  assert.deepEqual(said, []);
});

test("torch computes gradients", async () => {
  const { python } = (await findEnvironment(CHECKOUT, home))!;
  const program = `
import torch
a = torch.arange(6.0, requires_grad=True)
(a * a).sum().backward()
print(a.grad.tolist())`;
  assert.equal((await runPython(python, ["-c", program], run)).trim(), "[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]");
});

test("torch sees as many GPUs as the driver lists, or says why not", async () => {
  const { python } = (await findEnvironment(CHECKOUT, home))!;
  const [{ gpus, why }, found] = [await gpusSeen(python, run), await findGpus(variables)];
  if (found.gpus.length === 0) assert.deepEqual([gpus, typeof why], [0, "string"]);
  else assert.equal(gpus, found.gpus.length);
});

test("it fits the room that set-up asks for", async () => {
  const { python } = (await findEnvironment(CHECKOUT, home))!;
  const program = `
import os, sys
print(sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(sys.prefix) for name in names))`;
  assert.ok(Number(await runPython(python, ["-c", program], run)) < 6.5e9);
});
