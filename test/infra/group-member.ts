import { joinGroup } from "../../infra/group.js";

/** Worker 1 of two, for a test that kills it. */
await joinGroup(
  { path: process.argv[2]!, worker: 1, workers: 2, timeoutMs: 3000, signal: new AbortController().signal },
  { message: () => undefined, lost: () => process.exit(0) },
);
