import { MANIFEST } from "../../core/format/manifest.js";
import type { ObjectStore } from "../../infra/store/store.js";
import type { PublishDependencies } from "./index.js";

/** What `latest.json` under a target says. */
export interface Latest {
  /** name of the published model: its directory under the target */
  readonly name: string;
  readonly manifest: { readonly uri: string; readonly sha256: string };
  /** the one before it, null for the first */
  readonly previous: string | null;
}

/** Name of the pointer under a target. */
export const LATEST = "latest.json";

/** Tries that lose against other runs before something else must be wrong. */
const TRIES = 10;

/** Lets `latest.json` name a model whose manifest is published. Of several runs the last one wins, and each names the one before it. */
export async function moveLatest(
  { readAll, sha256 }: Pick<PublishDependencies, "readAll" | "sha256">,
  store: ObjectStore,
  target: string,
  name: string,
): Promise<void> {
  const manifest = { uri: `${target}/${name}/${MANIFEST}`, sha256: sha256((await readAll(store, `${name}/${MANIFEST}`))!) };
  for (let tried = 0; tried < TRIES; tried++) {
    const before = await readAll(store, LATEST);
    const old = before === null ? null : (JSON.parse(Buffer.from(before).toString()) as Latest);
    if (old?.name === name && old.manifest.sha256 === manifest.sha256) return;
    const latest: Latest = { name, manifest, previous: old === null || old.name === name ? (old?.previous ?? null) : old.name };
    if (await store.replace(LATEST, Buffer.from(`${JSON.stringify(latest, null, 1)}\n`), before)) return;
  }
  throw new Error(`${target}/${LATEST} is moved by others all the time`);
}
