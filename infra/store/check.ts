import { setTimeout as sleep } from "node:timers/promises";
import { GetObjectTaggingCommand, HeadObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import type { RunConfig } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";
import { sha256 } from "../disk/files.js";
import { openStore, parseS3 } from "./open.js";
import { s3Error, statusOf, type Call } from "./s3-errors.js";
import { setLifecycle } from "./s3-lifecycle.js";
import { apart, BUCKET_DECIDES, headersOf, type ObjectOptions } from "./s3-options.js";
import { clientOf, type S3Settings } from "./s3-store.js";
import { readAll, type ObjectStore } from "./store.js";

/**
 * An object that is written and removed to see whether it can be, and how it is kept. One name for every run: a policy can
 * name it, and what a killed or cancelled run leaves the next one removes, which could not find one of another name, for it may not
 * list. So runs remove and replace each other's, and only what several tries agree on is said of the server.
 */
const PROBE = ".roslin-may-write";
const BYTES = Buffer.from("a check by roslin\n");
const TRIES = 10;
/** Milliseconds, times the tries so far, that a wait stays below: by chance, so that runs get out of each other's way. */
const WAIT_MS = 100;

/**
 * Makes sure that objects can be written below `uri`, and are kept there as `wanted` says; sets the bucket's lifecycle
 * rule where it asks for one. UserError says what is in the way, such as a missing bucket.
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
    // whoever may write nothing at all hears that first
    await probe(uri, settings, signal);
    const refused: string[] = [];
    for (const [field, only] of fields)
      await probe(uri, settings, signal, only).catch((reason: unknown) => void refused.push(`${field}: ${messageOf(reason)}`));
    signal.throwIfAborted();
    if (refused.length === 0) throw error;
    throw new UserError(
      `this S3 server stores objects, but not as ${refused.length === 1 ? "a setting asks: remove it" : "these settings ask: remove them"}, or publish elsewhere:\n${refused.map((each) => `  - ${each}`).join("\n")}`,
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
    // who may write but not remove leaves it there, and may publish all the same
    await store.delete(PROBE).catch(() => undefined);
  }
}

/** Throws unless the object that was just written is there, kept as it should be; another run that tries its own in between looks like a server that lacks something. */
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

/** The bucket's client, and the probe as its calls name it; `failed` words what they throw. */
function probeIn(uri: string, settings: S3Settings) {
  const { bucket: Bucket, prefix } = parseS3(uri);
  const client = clientOf(settings, Bucket);
  const object = { Bucket, Key: prefix === "" ? PROBE : `${prefix}/${PROBE}` };
  const failed = (call: Call, error: unknown): never => {
    throw s3Error(error, call, { bucket: Bucket, endpoint: settings.endpoint ?? "amazonaws.com" }, object.Key);
  };
  return { client, object, failed };
}

/** Uploads are not read again: what arrives broken is found by the server alone, which has to compare digests. */
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

/** Some servers take what they don't know and leave it out. */
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
  // whoever may tag but not read tags tags all the same
  const kept = await client.send(new GetObjectTaggingCommand(object), { abortSignal }).catch(() => null);
  const text = (set: Readonly<Record<string, string>>): string => JSON.stringify(Object.entries(set).sort());
  const got = Object.fromEntries((kept?.TagSet ?? []).map(({ Key, Value }) => [Key!, Value!]));
  if (kept !== null && text(got) !== text(tags)) throw ignored("tags", text(tags), text(got));
}
