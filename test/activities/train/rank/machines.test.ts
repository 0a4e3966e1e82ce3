import assert from "node:assert/strict";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { localArtifacts, shareArtifacts } from "../../../../activities/common/shared-artifacts.js";
import { Stage, type StageRequest } from "../../../../activities/common/stage.js";
import { trainDefinition } from "../../../../activities/train/definition.js";
import type { CheckpointEntry, EndEntry, TrainAttempt } from "../../../../activities/train/log/entries.js";
import { trainingPlace } from "../../../../activities/train/log/training-place.js";
import { beginTraining, noteAttempt } from "../../../../activities/train/run/begin.js";
import { finishTraining } from "../../../../activities/train/run/finish.js";
import { openSharedFiles, type Sharing } from "../../../../infra/sources/shared-files.js";
import { trainDeps } from "../../../../workers/train-deps.js";
import { startTestS3 } from "../../../infra/store/weed.js";
import { job, madeRows } from "../../../workers/tiny.js";
import { trainLocally } from "../../../../workers/local-training.js";

/** Ranks whose machines share nothing but a bucket: here two homes of one machine, whose ranks meet over TCP. */

const CHILD = join(import.meta.dirname, "machines-child.js");
const TRAIN = { shards: 4, microBatch: 1, accumulation: 1, epochs: 10, learningRate: 1e-3, checkpointEverySteps: 5 };
const PLACES = ["first", "second", "second"].map((host) => ({ host, address: "127.0.0.1" }));

let s3: Awaited<ReturnType<typeof startTestS3>>;
before(async () => {
  s3 = await startTestS3();
});
after(async () => {
  await s3.stop();
});

const never = new AbortController().signal;
let count = 0;

async function machines(t: TestContext) {
  const made = await job(t, madeRows(16), TRAIN);
  const store = `s3://roslin/machines-${count++}`;
  const { config } = made.request;
  const shared = { ...config, train: { ...config.train, workers: { ...config.train.workers, store } } };
  const request: StageRequest = { ...made.request, config: shared };
  const deps = {
    ...trainDeps,
    openShared: (uri: string, prefix: string, sharing: Sharing) => openSharedFiles(uri, prefix, s3.settings, sharing),
  };
  const roots: Record<string, string> = { first: made.request.root, second: `${made.request.root}-second` };
  mkdirSync(roots["second"]!);
  t.after(() => rmSync(roots["second"]!, { recursive: true, force: true }));
  const sharing = { signal: never, journals: join(made.request.root, "uploads"), onBytes: () => undefined, onNote: () => undefined };
  await shareArtifacts(deps.openShared(store, "", sharing), request.inputs, never);
  const directory = (root: string): string => new Stage(trainDefinition, { ...request, root }).directory;
  const place = (root: string) => trainingPlace(deps, directory(root), request.config.train, sharing);
  /** The request as the stages of a machine have it. */
  const requestOn = async (host: string): Promise<StageRequest> => {
    const root = roots[host]!;
    return { ...request, root, inputs: await localArtifacts(deps.openShared(store, "", sharing), root, request.inputs) };
  };
  return {
    first: directory(roots["first"]!),
    second: directory(roots["second"]!),
    log: () => place(roots["first"]!).log(),
    shared: async () => (await place(roots["first"]!).shared!.store.list("")).map(({ key }) => key),
    /** Begins an attempt on the machine of its first rank. */
    async begin(places = PLACES): Promise<TrainAttempt> {
      const given = await requestOn(places[0]!.host);
      await noteAttempt(deps, given, never);
      const begun = await beginTraining(deps, given, { workers: places.length, places }, made.context());
      assert.ok("attempt" in begun);
      return begun.attempt;
    },
    start: (attempt: TrainAttempt, places = PLACES, variables: Record<string, string> = {}): Rank[] =>
      places.map(({ host }, worker) => startRank(attempt, worker, roots[host]!, host === "second" ? variables : {})),
    finish: async (host: string) => finishTraining(deps, await requestOn(host), made.context()),
  };
}

interface Rank {
  readonly child: ChildProcess;
  readonly outcome: Promise<{ readonly status: string; readonly message?: string }>;
}

function startRank(attempt: TrainAttempt, worker: number, root: string, variables: Record<string, string>): Rank {
  const { endpoint, credentials } = s3.settings;
  const env = {
    ...process.env,
    ...variables,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_ACCESS_KEY_ID: credentials!.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials!.secretAccessKey,
  };
  const child = fork(CHILD, [], { env });
  child.send({ attempt, worker, root });
  let said: Awaited<Rank["outcome"]> | null = null;
  child.on("message", (message) => {
    if (message !== "moved") said = message as Awaited<Rank["outcome"]>;
  });
  const outcome = once(child, "exit").then(([, signal]) => said ?? { status: String(signal) });
  return { child, outcome };
}

const outcomes = (ranks: readonly Rank[]) => Promise.all(ranks.map(({ outcome }) => outcome));

test("ranks of two machines that share a bucket alone end with the bytes of one machine, and their checkpoints lie in the bucket, pruned", async (t) => {
  const run = await machines(t);
  const undisturbed = await job(t, madeRows(16), TRAIN);
  const expected = await trainLocally(trainDeps, undisturbed.request, 2, undisturbed.context());
  const ended = await outcomes(run.start(await run.begin()));
  assert.deepEqual(
    ended,
    PLACES.map(() => ({ status: "finished" })),
  );
  // the copies of the other machine's shards are fetched where the model is made
  const result = await run.finish("first");
  assert.equal(result!.stateDigest, expected.stateDigest);
  assert.deepEqual(result!.metrics.losses, expected.metrics.losses);
  const { entries } = await run.log();
  const files = entries.filter((entry): entry is CheckpointEntry => entry.kind === "checkpoint").slice(-2);
  const kept = files.flatMap(({ shards }) => shards.map(({ file }) => file));
  const bucket = await run.shared();
  assert.deepEqual(
    bucket.filter((key) => key.startsWith("shards/")),
    kept.sort(),
  );
  assert.ok(!bucket.some((key) => key.startsWith("meetings/")), "nobody finds the coordinator any more");
  assert.ok(!existsSync(join(run.first, "commits")), "the log lies in the bucket alone");
  assert.ok(readdirSync(join(run.second, "shards")).length <= 2 * 3, "the other machine keeps no more than the bucket");
});

test("a machine that dies costs the steps since the last checkpoint, and training moves to the other one", async (t) => {
  const run = await machines(t);
  const undisturbed = await job(t, madeRows(16), TRAIN);
  const expected = await trainLocally(trainDeps, undisturbed.request, 2, undisturbed.context());
  const attempt = await run.begin();
  const ranks = run.start(attempt);
  while (!(await run.log()).entries.some(({ kind }) => kind === "checkpoint")) await sleep(50);
  for (const [worker, { host }] of PLACES.entries()) if (host === "second") ranks[worker]!.child.kill("SIGKILL");
  const [first] = await outcomes(ranks);
  assert.ok(first!.status === "PeerLostError" || first!.status === "finished", JSON.stringify(first));
  if (first!.status === "PeerLostError") {
    const { resumeStep } = await run.begin(PLACES.slice(0, 1));
    assert.ok(resumeStep > 0);
    const end = (await run.log()).entries.find((entry): entry is EndEntry => entry.kind === "end")!;
    assert.ok(
      end.lost.length > 0 && end.lost.every(({ worker, step }) => worker >= 1 && step >= resumeStep),
      `deaths on another machine count, too: ${JSON.stringify(end)}`,
    );
  }
  // now the first machine's disk is gone: the second one has the bucket alone
  const places = PLACES.filter(({ host }) => host === "second");
  const next = await run.begin(places);
  assert.deepEqual(
    await outcomes(run.start(next, places)),
    places.map(() => ({ status: "finished" })),
  );
  const result = await run.finish("second");
  assert.equal(result!.stateDigest, expected.stateDigest);
  assert.deepEqual(result!.metrics.losses, expected.metrics.losses);
});

test("machines with different versions are named before anything is trained", async (t) => {
  const run = await machines(t);
  const ended = await outcomes(run.start(await run.begin(), PLACES, { ONNX_VERSION: "0.0.1" }));
  for (const { status, message } of ended) {
    assert.equal(status, "UserError");
    assert.match(
      message!,
      /the machines of this run have different versions: set them up alike \[what=onnxruntime, worker=1, host=second, expected=.*, got=0.0.1\]/,
    );
  }
  assert.deepEqual(
    (await run.log()).entries.map(({ kind }) => kind),
    ["attempt"],
  );
});
