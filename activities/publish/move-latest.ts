import type { RunConfig } from "../../core/config/schema.js";
import { ChangedInputError, CorruptError, ForbiddenError, UserError } from "../../core/errors.js";
import { LATEST, parseLatest, type Latest } from "../../core/format/latest.js";
import { MANIFEST } from "../../core/format/manifest.js";
import { sha256 } from "../../infra/disk/files.js";
import { readAll, type ObjectStore } from "../../infra/store/store.js";
import type { LiveReference } from "../evaluate/evaluation.js";

/** Tries that may lose against other runs; after more of them something else must be wrong. */
const TRIES = 10;

type Wanted = RunConfig["publish"];

/** A pointer as it is now. */
interface Pointer {
  /** null: there is none, or none that may be read */
  readonly bytes: Uint8Array | null;
  readonly latest: Latest | null;
  readonly unreadable: ForbiddenError | null;
}

/** Reads `latest.json`; UserError says what is wrong with one that cannot be moved. */
export async function readLatest(store: ObjectStore): Promise<Pointer> {
  let unreadable: ForbiddenError | null = null;
  const bytes = await readAll(store, LATEST).catch((error: unknown) => {
    // without the right to list, S3 calls a missing object forbidden; only a target's first run finds none
    if (!(error instanceof ForbiddenError)) throw error;
    unreadable = error;
    return null;
  });
  if (bytes === null) return { bytes, latest: null, unreadable };
  try {
    return { bytes, latest: parseLatest(Buffer.from(bytes).toString(), store.uri), unreadable };
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error;
    throw new UserError(`${error.message}: correct it, or remove it`, {}, { cause: error });
  }
}

/** Stands for what is asked of a bucket beyond its defaults, without revealing tags or keys; undefined: nothing. */
function keptAs({ encryption, kmsKeyId, storageClass, tags }: Wanted): string | undefined {
  const wishes = JSON.stringify([encryption, kmsKeyId, storageClass, tags]);
  return wishes === "[null,null,null,{}]" ? undefined : sha256(wishes).slice(0, 16);
}

/** Throws ChangedInputError if a pointer names neither the live model that a model was compared with nor that model itself. */
export function checkLiveStill({ latest }: Pick<Pointer, "latest">, name: string, live: LiveReference | null): void {
  if (live === null || latest?.name === name || latest?.manifest.sha256 === live.manifest) return;
  throw new ChangedInputError(
    "latest.json names another model than the one that this one was compared with: run `roslin stage evaluate` again, which compares with that one",
    { compared: live.manifest, got: latest?.manifest.sha256 ?? "none" },
  );
}

/**
 * Lets `latest.json` name a model whose manifest is published, and be kept in the way that is wanted. False: it named the model
 * before and has moved on. Of several runs the last one wins, and it has seen the others. `live`: what the model was compared
 * with, and ChangedInputError if that is not the latest one now; null: with none, or with one that the configuration names.
 */
export async function moveLatest(
  store: ObjectStore,
  target: string,
  name: string,
  { wanted, live }: { readonly wanted: Wanted; readonly live: LiveReference | null },
  say: (note: string) => void,
): Promise<boolean> {
  const manifest = { uri: `${target}/${name}/${MANIFEST}`, sha256: sha256((await readAll(store, `${name}/${MANIFEST}`))!) };
  const kept = keptAs(wanted);
  for (let tried = 0; tried < TRIES; tried++) {
    const { bytes: before, latest: old, unreadable } = await readLatest(store);
    // a pointer that an earlier version wrote knows only the model before it
    const superseded = old?.superseded ?? (old?.previous == null ? [] : [old.previous]);
    if (superseded.includes(name)) {
      say(`latest.json has moved on from ${name} to ${old!.name}, and stays there`);
      return false;
    }
    checkLiveStill({ latest: old }, name, live);
    const isNamed = old?.name === name;
    if (isNamed && old.manifest.sha256 === manifest.sha256 && old.kept === kept) return true;
    const latest: Latest = {
      name,
      manifest,
      previous: old === null || isNamed ? (old?.previous ?? null) : old.name,
      superseded: old === null || isNamed ? superseded : [...superseded, old.name],
      kept,
    };
    if (await store.replace(LATEST, Buffer.from(`${JSON.stringify(latest, null, 1)}\n`), before)) return true;
    if (unreadable !== null) throw unreadable;
  }
  throw new Error(`${target}/${LATEST} could not be moved, because other runs keep moving it`);
}
