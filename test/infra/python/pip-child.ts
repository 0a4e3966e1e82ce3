import { tmpdir } from "node:os";
import { runPip } from "../../../infra/python/pip.js";

/** `node pip-child.js INDEX`: asks pip for a package of an index, and waits for it. */
await runPip("python3", ["download", "--timeout", "600", "--index-url", process.argv[2]!, "--dest", tmpdir(), "nothing"], {
  variables: process.env,
  signal: new AbortController().signal,
});
