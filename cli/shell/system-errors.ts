import { messageOf, UserError } from "../../core/errors.js";

/** What the user can do about an error of the operating system, by its code. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full: make room, then give the same command again; it goes on from what is done",
  EDQUOT: "your disk quota is used up: make room, then give the same command again; it goes on from what is done",
  EROFS: "the file system is read-only: name a directory elsewhere, or mount it for writing",
  EACCES: "permission is denied: make the path yours, or name another",
  EPERM: "permission is denied: make the path yours, or name another",
  ENOTDIR: "a file stands where a directory is needed: move it away, or name another directory",
  EISDIR: "a directory stands where a file is needed: move it away, or name another file",
  ENAMETOOLONG: "a path is too long: name a shorter one",
};

/** Node's message if a directory cannot be made on a read-only file system. */
const NO_DIRECTORY = "ENOENT: no such file or directory, mkdir";

/** The code in an error's message: errors from a worker process arrive as text. */
const CODE = new RegExp(`\\b(${Object.keys(REMEDIES).join("|")})\\b: `);

/** A UserError for an error of the operating system that the user can fix, with the directory `where` it happened; any other error as it is. */
export function explained(error: unknown, where?: string): unknown {
  if (error instanceof UserError) return error;
  const message = messageOf(error);
  const code = message.includes(NO_DIRECTORY) ? "EROFS" : CODE.exec(message)?.[1];
  return code === undefined ? error : new UserError(REMEDIES[code]!, { directory: where, got: message }, { cause: error });
}
