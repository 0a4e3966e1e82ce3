import { CorruptError } from "../../core/errors.js";
import { parseManifest, type Manifest } from "../../core/format/manifest.js";

/** A published manifest; null: it is damaged or not Roslin's, so that nothing in it counts. */
export function readableManifest(bytes: Uint8Array, where: string): Manifest | null {
  try {
    return parseManifest(Buffer.from(bytes).toString(), where);
  } catch (error) {
    if (error instanceof CorruptError) return null;
    throw error;
  }
}
