import type { RunConfig } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";
import { fileStoreAt } from "./file-store.js";
import { judgeProbe, PROBE, PROBE_BYTES, settled } from "./probe.js";
import { setLifecycle } from "./s3-lifecycle.js";
import { apart } from "./s3-options.js";
import { tryServer } from "./s3-probe.js";
import { ALL_ABILITIES } from "./s3-requests.js";
import type { S3Settings } from "./s3-store.js";
import { readAll, type TargetCheck } from "./store.js";

/** How a bucket is to keep what is published. */
export type BucketSettings = Omit<RunConfig["publish"], "target" | "merge" | "sign">;

const hasLifecycle = ({ lifecycle }: BucketSettings): boolean => Object.values(lifecycle).some((value) => value !== null);

/** Throws UserError if a target that is not a bucket is asked for what only buckets have; `kind` says what it is, such as "a directory". */
export function refuseBucketSettings(kind: string, target: string, wanted: BucketSettings): void {
  const asked = [...apart(wanted).map(([field]) => field), ...(hasLifecycle(wanted) ? ["publish.lifecycle"] : [])].join(" and ");
  if (asked !== "") throw new UserError(`${kind} has no ${asked}: remove the setting, or publish to a bucket`, { target });
}

/**
 * Makes sure that objects can be written below `uri`, and are kept there as `wanted` says; sets the bucket's lifecycle
 * rule if `wanted` has one. Throws UserError for an obstacle, such as a missing bucket.
 */
export async function checkTarget(uri: string, settings: S3Settings, wanted: BucketSettings, signal: AbortSignal): Promise<TargetCheck> {
  const fields = apart(wanted);
  if (uri.startsWith("file:")) {
    refuseBucketSettings("a directory", uri, wanted);
    await tryDirectory(uri, signal);
    return { abilities: ALL_ABILITIES };
  }
  let check: TargetCheck;
  try {
    check = await tryServer(uri, settings, signal, wanted);
  } catch (error) {
    signal.throwIfAborted();
    if (fields.length === 0) throw error;
    // without the right to write at all, that is the error
    await tryServer(uri, settings, signal);
    const refused: string[] = [];
    for (const [field, only] of fields)
      await tryServer(uri, settings, signal, only).catch((reason: unknown) => void refused.push(`${field}: ${messageOf(reason)}`));
    signal.throwIfAborted();
    if (refused.length === 0) throw error;
    throw new UserError(
      `this S3 server stores objects, but does not keep them as ${refused.length === 1 ? "a setting asks: remove it" : "these settings ask: remove them"}, or publish elsewhere:\n${refused.map((each) => `  - ${each}`).join("\n")}`,
      { target: uri },
    );
  }
  if (hasLifecycle(wanted)) await setLifecycle(uri, settings, wanted.lifecycle, signal);
  return check;
}

async function tryDirectory(target: string, signal: AbortSignal): Promise<void> {
  const store = fileStoreAt(target);
  const write = (): Promise<void> =>
    store.write(PROBE, PROBE_BYTES).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (!["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code ?? "")) throw error;
      throw new UserError("nothing can be published there: this process has no permission to write", { target, code }, { cause: error });
    });
  await write();
  try {
    await settled(signal, write, async () => judgeProbe(store, await readAll(store, PROBE)));
  } finally {
    await store.delete(PROBE).catch(() => undefined);
  }
}
