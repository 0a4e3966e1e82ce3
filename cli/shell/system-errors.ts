import { messageOf, UserError } from "../../core/errors.js";

/** What a user can do about an error of the system that only a user can mend, by its code. */
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

/** What Node says where a directory cannot be made on a read-only file system. */
const NO_DIRECTORY = "ENOENT: no such file or directory, mkdir";

/** The code in an error's message: that of a worker process came as words. */
const CODE = new RegExp(`\\b(${Object.keys(REMEDIES).join("|")})\\b: `);

/** A UserError for what the system refused and a user can mend, with `where` it was at work; any other error as it is. */
export function explained(error: unknown, where?: string): unknown {
  if (error instanceof UserError) return error;
  const message = messageOf(error);
  const code = message.includes(NO_DIRECTORY) ? "EROFS" : CODE.exec(message)?.[1];
  return code === undefined ? error : new UserError(REMEDIES[code]!, { directory: where, got: message }, { cause: error });
}
