import { setTimeout as sleep } from "node:timers/promises";
import { GetObjectTaggingCommand, HeadObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import type { RunConfig } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";
import { sha256 } from "../disk/files.js";
import { openStore, parseS3 } from "./open-store.js";
import { s3Error, statusOf, type Call } from "./s3-errors.js";
import { setLifecycle } from "./s3-lifecycle.js";
import { apart, BUCKET_DECIDES, headersOf, type ObjectOptions } from "./s3-options.js";
import { clientOf, type S3Settings } from "./s3-store.js";
import { readAll, type ObjectStore } from "./store.js";

/**
 * An object that is written and removed to see whether that works, and how it is kept. Every run uses the same name: a
 * policy can name it, and a run removes what a killed one left without the right to list objects. So runs remove and
 * replace each other's, and a verdict on the server needs several tries that agree.
 */
const PROBE = ".roslin-may-write";
const BYTES = Buffer.from("a check by roslin\n");
const TRIES = 10;
/** Bound of a random wait in milliseconds, times the tries so far: runs that collide get out of each other's way. */
const WAIT_MS = 100;

/**
 * Makes sure that objects can be written below `uri`, and are kept there as `wanted` says; sets the bucket's lifecycle
 * rule if `wanted` has one. Throws UserError for an obstacle, such as a missing bucket.
 */
export async function checkTarget(
  uri: string,
  settings: S3Settings,
  wanted: Omit<RunConfig["publish"], "target">,
  signal: AbortSignal,
): Promise<void> {
  const fields = apart(wanted);
  const days = Object.values(wanted.lifecycle).some((value) => value !== null);
  if (uri.startsWith("file:")) {
    const asked = [...fields.map(([field]) => field), ...(days ? ["publish.lifecycle"] : [])].join(" and ");
    if (asked !== "") throw new UserError(`a directory has no ${asked}: remove the setting, or publish to a bucket`, { target: uri });
    return await probe(uri, settings, signal);
  }
  try {
    await probe(uri, settings, signal, wanted);
  } catch (error) {
    if (fields.length === 0) throw error;
    // without the right to write at all, that is the error
    await probe(uri, settings, signal);
    const refused: string[] = [];
    for (const [field, only] of fields)
      await probe(uri, settings, signal, only).catch((reason: unknown) => void refused.push(`${field}: ${messageOf(reason)}`));
    signal.throwIfAborted();
    if (refused.length === 0) throw error;
    throw new UserError(
      `this S3 server stores objects, but does not keep them as ${refused.length === 1 ? "a setting asks: remove it" : "these settings ask: remove them"}, or publish elsewhere:\n${refused.map((each) => `  - ${each}`).join("\n")}`,
      { target: uri },
    );
  }
  if (days) await setLifecycle(uri, settings, wanted.lifecycle, signal);
}

async function probe(uri: string, settings: S3Settings, signal: AbortSignal, options?: ObjectOptions): Promise<void> {
  const store = openStore(uri, settings, options, signal);
  const write = (): Promise<void> =>
    store.write(PROBE, BYTES).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (uri.startsWith("file:") && ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code ?? ""))
        throw new UserError(
          "nothing can be published there: this process has no permission to write",
          { target: uri, code },
          { cause: error },
        );
      throw error;
    });
  await write();
  try {
    for (let tried = 1; ; tried++) {
      try {
        return await judge(store, uri, settings, signal, options);
      } catch (error) {
        if (tried === TRIES) throw error;
      }
      await sleep(Math.random() * WAIT_MS * tried, undefined, { signal });
      await write();
    }
  } finally {
    // with the right to write but not to remove, it stays there, and publishing works all the same
    await store.delete(PROBE).catch(() => undefined);
  }
}

/** Throws unless the object that was just written is there, kept as it should be. Another run's probe in between looks like a fault of the server. */
async function judge(
  store: ObjectStore,
  uri: string,
  settings: S3Settings,
  abortSignal: AbortSignal,
  options?: ObjectOptions,
): Promise<void> {
  const back = await readAll(store, PROBE);
  if (back === null || !BYTES.equals(back))
    throw new UserError("the target gives back other bytes than it was given: check that AWS_ENDPOINT_URL_S3 names an S3 server", {
      target: uri,
    });
  if (options !== undefined && apart(options).length > 0) await checkKept(uri, settings, abortSignal, options);
  // nothing else keeps two runs from undoing each other's latest.json
  if (await store.create(PROBE, BYTES))
    throw new UserError(
      "the server overwrites an object that it was told to keep: publishing needs conditional writes (If-None-Match, If-Match); update the server, or publish to another",
      { target: uri },
    );
  if (!uri.startsWith("file:")) await checkDigests(uri, settings, abortSignal, options);
}

/** The bucket's client, and the probe as its calls name it; `failed` turns what they throw into an error for people. */
function probeIn(uri: string, settings: S3Settings) {
  const { bucket: Bucket, prefix } = parseS3(uri);
  const client = clientOf(settings, Bucket);
  const object = { Bucket, Key: prefix === "" ? PROBE : `${prefix}/${PROBE}` };
  const failed = (call: Call, error: unknown): never => {
    throw s3Error(error, call, { bucket: Bucket, endpoint: settings.endpoint ?? "amazonaws.com" }, object.Key);
  };
  return { client, object, failed };
}

/** Uploads are not read again: the server alone can find damage, by comparing digests. */
async function checkDigests(uri: string, settings: S3Settings, abortSignal: AbortSignal, options = BUCKET_DECIDES): Promise<void> {
  const { client, object, failed } = probeIn(uri, settings);
  const ChecksumSHA256 = Buffer.from(sha256("other bytes"), "hex").toString("base64");
  try {
    await client.send(new PutObjectCommand({ ...object, ...headersOf(options), Body: BYTES, ChecksumSHA256 }), { abortSignal });
  } catch (error) {
    // 403: the signature covers the digest, and some servers say that it is wrong
    if ([400, 403].includes(statusOf(error) ?? 0)) return;
    failed({ doing: "writing an object with a wrong digest", right: "s3:PutObject" }, error);
  }
  throw new UserError(
    "the server accepts bytes that do not have the SHA-256 that was sent with them, so damaged files would be published: update the server, or publish to another",
    { target: uri },
  );
}

/** Some servers accept a setting that they don't know, and ignore it. */
async function checkKept(
  uri: string,
  settings: S3Settings,
  abortSignal: AbortSignal,
  { encryption, storageClass, tags }: ObjectOptions,
): Promise<void> {
  const { client, object, failed } = probeIn(uri, settings);
  const { ServerSideEncryption = null, StorageClass = "STANDARD" } = await client
    .send(new HeadObjectCommand(object), { abortSignal })
    .catch((error: unknown) => failed({ doing: "looking at an object", right: "s3:GetObject" }, error));
  const ignored = (field: string, expected: string, got: string): UserError =>
    new UserError(`the server ignores publish.${field}`, { expected, got });
  if (encryption !== null && ServerSideEncryption !== encryption)
    throw ignored("encryption", encryption, ServerSideEncryption ?? "no encryption");
  if (storageClass !== null && StorageClass !== storageClass) throw ignored("storageClass", storageClass, StorageClass);
  if (Object.keys(tags).length === 0) return;
  // with the right to set tags but not to read them, tags are set all the same
  const kept = await client.send(new GetObjectTaggingCommand(object), { abortSignal }).catch(() => null);
  const text = (set: Readonly<Record<string, string>>): string => JSON.stringify(Object.entries(set).sort());
  const got = Object.fromEntries((kept?.TagSet ?? []).map(({ Key, Value }) => [Key!, Value!]));
  if (kept !== null && text(got) !== text(tags)) throw ignored("tags", text(tags), text(got));
}
