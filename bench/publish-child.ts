import { basename, dirname, join } from "node:path";
import { digestFile } from "../infra/disk/file-digest.js";
import { openStore } from "../infra/store/open-store.js";

/**
 * `node publish-child.js ENDPOINT FILE s3://bucket/key`: digests a file and uploads it as publishing does, in a process of
 * its own. The keys come from the AWS provider chain.
 */
const [endpoint, file, uri] = process.argv.slice(2) as [string, string, string];
await openStore(uri.slice(0, uri.lastIndexOf("/")), { endpoint }).putFile(basename(uri), file, {
  digest: await digestFile(file),
  journal: join(dirname(file), "journal"),
  onBytes: () => undefined,
  signal: new AbortController().signal,
});
