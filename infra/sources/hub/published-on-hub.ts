import { MANIFEST, parseManifest, type Manifest } from "../../../core/format/manifest.js";
import { sha256 } from "../../disk/files.js";
import { readAll } from "../../store/store.js";
import type { PublishedFiles } from "../published-files.js";
import { isOther } from "../other-manifest.js";
import type { HubAccess } from "./access.js";
import { hubFiles } from "./hub-files.js";

/** The model that Roslin published to a repository, at the revision that `uri` names, or at the commit that main is now; null: it published none there. Throws CorruptError if its manifest is damaged. */
export async function publishedOnHub(
  access: HubAccess,
  uri: string,
  signal: AbortSignal,
): Promise<{
  readonly uri: string;
  readonly store: PublishedFiles;
  readonly manifest: Manifest;
  readonly sha256: string;
} | null> {
  const store = hubFiles(access, uri, signal);
  const bytes = await readAll(store, MANIFEST);
  if (bytes === null || isOther(bytes, `${uri}/${MANIFEST}`)) return null;
  const at = uri.includes("@") ? uri : await store.pinned();
  return { uri: at, store, manifest: parseManifest(bytes.toString(), `${uri}/${MANIFEST}`), sha256: sha256(bytes) };
}
