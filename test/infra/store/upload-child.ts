import { writeSync } from "node:fs";
import { digestFile } from "../../../infra/disk/file-digest.js";
import { openStore } from "../../../infra/store/open-store.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";

/** Uploads a file in a process of its own, to be killed: prints "bytes N" when the first part has arrived, and then stands still. */
const { uri, settings, key, path, journal } = JSON.parse(process.argv[2]!) as Record<string, string> & { settings: S3Settings };
await openStore(uri!, settings).putFile(key!, path!, {
  digest: await digestFile(path!),
  journal: journal!,
  onBytes: (bytes) => {
    writeSync(1, `bytes ${bytes}\n`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
  signal: new AbortController().signal,
});
