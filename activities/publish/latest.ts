import { ForbiddenError } from "../../core/errors.js";
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
  /** all that it ever named, the first one first: it never goes back to one of them */
  readonly superseded: readonly string[];
}

/** Name of the pointer under a target. */
export const LATEST = "latest.json";

/** Tries that lose against other runs before something else must be wrong. */
const TRIES = 10;

/**
 * Lets `latest.json` name a model whose manifest is published; false: it has named it before and moved on. Of several runs
 * the last one wins, having seen the others.
 */
export async function moveLatest(
  { readAll, sha256 }: Pick<PublishDependencies, "readAll" | "sha256">,
  store: ObjectStore,
  target: string,
  name: string,
  say: (note: string) => void,
): Promise<boolean> {
  const manifest = { uri: `${target}/${name}/${MANIFEST}`, sha256: sha256((await readAll(store, `${name}/${MANIFEST}`))!) };
  for (let tried = 0; tried < TRIES; tried++) {
    let unreadable: ForbiddenError | null = null;
    const before = await readAll(store, LATEST).catch((error: unknown) => {
      // without the right to list, S3 calls a missing object forbidden: only the first run of a target finds none
      if (!(error instanceof ForbiddenError)) throw error;
      unreadable = error;
      return null;
    });
    const old = before === null ? null : (JSON.parse(Buffer.from(before).toString()) as Latest);
    // one that an earlier version wrote knows the one before it
    const superseded = old?.superseded ?? (old === null || old.previous === null ? [] : [old.previous]);
    if (superseded.includes(name)) {
      say(`latest.json has moved on from ${name} to ${old!.name}, and stays there`);
      return false;
    }
    const isNamed = old?.name === name;
    if (isNamed && old.manifest.sha256 === manifest.sha256) return true;
    const latest: Latest = {
      name,
      manifest,
      previous: old === null || isNamed ? (old?.previous ?? null) : old.name,
      superseded: old === null || isNamed ? superseded : [...superseded, old.name],
    };
    if (await store.replace(LATEST, Buffer.from(`${JSON.stringify(latest, null, 1)}\n`), before)) return true;
    if (unreadable !== null) throw unreadable;
  }
  throw new Error(`${target}/${LATEST} is moved by others all the time`);
}
