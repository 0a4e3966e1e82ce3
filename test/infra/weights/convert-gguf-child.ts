import { writeSync } from "node:fs";
import { convertGguf } from "../../../infra/weights/convert-gguf.js";

/** A process to be killed: `node convert-gguf-child.js GGUF DIRECTORY` converts up to the first bytes, says so, and waits for ever. */
const [path, directory] = process.argv.slice(2) as [string, string];
const onBytes = (): void => {
  writeSync(1, "half\n");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
};
await convertGguf(path, directory, { signal: new AbortController().signal, onBytes });
