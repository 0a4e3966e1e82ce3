import { createInterface } from "node:readline";
import { openLog } from "../../../../activities/train/log/commit-log.js";
import { openStore } from "../../../../infra/store/open-store.js";
import type { S3Settings } from "../../../../infra/store/s3-store.js";

/**
 * `node fence-child.js JSON`: a writer of a commit log in a process of its own. It begins an attempt, or belongs to the one
 * of `generation`, prints the number, and tries to commit a step for each line that it hears: "committed N" or the error's name.
 */
const { uri, settings, generation } = JSON.parse(process.argv[2]!) as { uri: string; settings: S3Settings; generation?: number };
const log = await openLog(openStore(uri, settings), generation);
console.log(generation ?? (await log.append({ kind: "attempt", workers: 1, resumeFrom: null, resumeStep: 0 })));
for await (const step of createInterface({ input: process.stdin })) {
  const entry = {
    generation: generation ?? 0,
    step: Number(step),
    updates: 0,
    reason: "interval",
    parent: null,
    shards: [],
    steps: [],
  } as const;
  const fingerprint = { platform: "p", cpu: "c", node: "n", onnxruntime: "o", threadsPerRank: 1 };
  const answer = log.append({ kind: "checkpoint", fingerprint, ...entry }).then(
    (number) => `committed ${number}`,
    (error: Error) => error.name,
  );
  console.log(await answer);
}
