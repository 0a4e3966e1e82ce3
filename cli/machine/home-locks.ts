import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { lock } from "../../infra/disk/lock.js";

/** What one command at a time may hold of a home. */

/** Another supervisor has the home. */
export class HomeTakenError extends UserError {}

/** Holds the home for one supervisor. Throws HomeTakenError when another has it. */
export function lockHome(home: string): Promise<() => Promise<void>> {
  return lock(join(home, "up.lock"), new AbortController().signal, (holder) => {
    throw new HomeTakenError("roslin up runs here already: see roslin status, or stop it with roslin down", { home, by: holder });
  });
}

/** Holds the data of the home's S3 server, which one server at a time may have. Throws HomeTakenError when another command has it. */
export function lockS3(home: string): Promise<() => Promise<void>> {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  return lock(join(home, "s3.lock"), new AbortController().signal, (holder) => {
    throw new HomeTakenError("another roslin command runs this home's S3 server: wait until it has ended", { home, by: holder });
  });
}
