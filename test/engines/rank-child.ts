import { existsSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { serveRank } from "../../workers/serve-rank.js";
import { places } from "./places.js";

/** Entry of a rank's process that knows the toy engine; while there is a file FULL_DISK, or once for a file FULL_DISK.once, the disk is full. */
const full = process.env["FULL_DISK"];
if (full !== undefined) {
  const handle = await open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  const { writeFile } = prototype;
  prototype.writeFile = async function (...args) {
    const once = existsSync(`${full}.once`);
    if (once) rmSync(`${full}.once`, { force: true });
    if (once || existsSync(full)) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    return writeFile.apply(this, args);
  };
}
serveRank(places);
