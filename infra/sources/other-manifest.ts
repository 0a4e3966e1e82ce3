import { refuseLfsContent } from "../disk/lfs-pointer.js";

/** Whether a manifest.json is whole, and was not written by Roslin. Throws UserError if it is a Git LFS pointer. */
export function isOther(bytes: Uint8Array, where: string): boolean {
  refuseLfsContent(bytes, where);
  try {
    return (JSON.parse(Buffer.from(bytes).toString()) as { format?: unknown } | null)?.format !== "roslin-manifest";
  } catch {
    return false;
  }
}
