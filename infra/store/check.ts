import { UserError } from "../../core/errors.js";
import { openStore } from "./open.js";
import type { S3Settings } from "./s3.js";

/** An object that is written and removed to see whether it can be. */
const PROBE = ".roslin-may-write";

/** Makes sure that objects can be written below `uri`; UserError says what is in the way, such as a missing bucket. */
export async function checkTarget(uri: string, settings: S3Settings): Promise<void> {
  const store = openStore(uri, settings);
  try {
    await store.write(PROBE, Buffer.from("a check by roslin\n"));
    // who may write but not remove leaves it there, and may publish all the same
    await store.delete(PROBE).catch(() => undefined);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (uri.startsWith("file:") && ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code ?? ""))
      throw new UserError("nothing can be published there: this process may not write", { target: uri, code }, { cause: error });
    throw error;
  }
}
