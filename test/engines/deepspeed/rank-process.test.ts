import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { outputNamed } from "../../../core/stages/results.js";
import { startProcess } from "../../../engines/deepspeed/rank-process.js";
import type { Compute, ComputeEvent } from "../../../engines/engine.js";
import { job, madeRows } from "../../workers/tiny.js";

/** What a rank makes of its process: a small Python program that says what a test wants. */

const BEGIN = `
import json, os, signal, sys, threading, time
def say(kind, **event):
    print(json.dumps({"kind": kind, **event}), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
`;

interface Started {
  /** path of the program */
  readonly program: string;
  readonly compute: Compute;
  readonly events: ComputeEvent[];
}

async function started(t: TestContext, program: string): Promise<Started> {
  const { request } = await job(t, madeRows(21), { shards: 2, microBatch: 1, accumulation: 2, epochs: 1 });
  const file = join(request.root, "program.py");
  writeFileSync(file, BEGIN + program);
  const whereabouts = openSync(join(request.root, "whereabouts"), "w");
  t.after(() => closeSync(whereabouts));
  const [model, tokens] = ["model", "tokens"].map((name) => fileURLToPath(outputNamed(request.inputs, name).uri)) as [string, string];
  const setup = { prefix: "roslin-test-g1", keepActivations: false, timeoutSeconds: 45 };
  const place = { address: "127.0.0.1", directory: request.root, model, tokens };
  const about = { worker: 1, workers: 2, train: request.config.train, ...place, resumeStep: 0, totalSteps: 6, resume: null };
  const versions = { python: "", torch: "", deepspeed: "", transformers: "", peft: "", cuda: null, nccl: null };
  const events: ComputeEvent[] = [];
  const environment = async () => ({ python: "python3", versions });
  const compute = startProcess(environment, file, { ...about, whereabouts, setup }, (event) => void events.push(event));
  t.after(() => compute.abort());
  return { program: file, compute, events };
}

/** Lets so many seconds of a rank's beats pass. */
function beat(t: TestContext, seconds: number): void {
  t.mock.timers.tick(seconds * 1000);
}

/** Waits, on a clock that no mock stops, until it holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

test("a process that said something and then nothing for 45 s is frozen, and is ended even where it is stopped", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { compute, events } = await started(t, `say("alive"); say("arrive", barrier=1); os.kill(os.getpid(), signal.SIGSTOP)`);
  await until(() => events.length === 1);
  beat(t, 45);
  beat(t, 1);
  assert.equal(await compute.ended, "its compute process was frozen: it said nothing for 45 s");
  assert.deepEqual(events, [{ kind: "arrive", barrier: 1 }], "its end says the rest");
});

test("a process that only says that it lives is not frozen, and has not moved", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { compute, events } = await started(
    t,
    `
say("arrive", barrier=1)
for number in range(2, 5):
    time.sleep(0.05)
    say("alive")
    say("arrive", barrier=number)`,
  );
  for (const count of [1, 2, 3, 4]) {
    await until(() => events.length === count);
    beat(t, 30);
  }
  assert.equal(await compute.ended, "its compute process ended (exit code 0)");
  assert.equal(compute.moved(), 4);
});

test("a process that is still loading its libraries is waited for", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { program, compute, events } = await started(t, `open(f"{sys.argv[0]}.begun", "w"); time.sleep(0.5); say("arrive", barrier=1)`);
  await until(() => existsSync(`${program}.begun`));
  beat(t, 100);
  assert.equal(await compute.ended, "its compute process ended (exit code 0)");
  assert.equal(events.length, 1);
});

test("half a line of a process that was killed is no word, wherever it ends", async (t) => {
  for (const half of ['{"kind":"arrive","barrier":1', '{"kind":"arrive","barrier":1,"end":{"stepsDone":1}', "{"]) {
    const program = `sys.stdout.write(${JSON.stringify(half)}); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)`;
    const { compute, events } = await started(t, program);
    assert.equal(await compute.ended, "its compute process ended (SIGKILL)");
    assert.deepEqual(events, []);
  }
});

test(
  "a process that is ended while numbers wait that nobody reads has ended, as when the disk was full at a shard before",
  { timeout: 60_000 },
  async (t) => {
    const program = `
say("shard", stepsDone=1, updates=1, shard=0, tensors=[{"name": "weight", "shape": [4]}])
os.write(4, bytes(16))
while True: os.write(4, bytes(1 << 20))`;
    const { compute, events } = await started(t, program);
    await until(() => events.length === 1);
    compute.abort();
    assert.equal(await compute.ended, "its compute process ended (SIGKILL)");
  },
);
