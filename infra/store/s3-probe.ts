import { GetObjectTaggingCommand, HeadObjectCommand, PutObjectCommand, type HeadObjectCommandOutput } from "@aws-sdk/client-s3";
import { messageOf, UserError } from "../../core/errors.js";
import { openStore, parseS3 } from "./open-store.js";
import { judgeProbe, PROBE, PROBE_BYTES, settled } from "./probe.js";
import { refusesForm, s3Error, statusOf, type Call } from "./s3-errors.js";
import { abortUpload, listUploads } from "./s3-journal.js";
import { apart, BUCKET_DECIDES, type ObjectOptions } from "./s3-options.js";
import { tryUpload, type ProbePlace } from "./s3-probe-upload.js";
import { checksumOfBytes, headInput, putInput } from "./s3-requests.js";
import { clientOf, type S3Settings } from "./s3-store.js";
import { readAll, type ObjectStore, type ServerAbilities, type TargetCheck } from "./store.js";

/** Tries on an S3 server, below the target itself, all that publishing will ask of it, with the checksums that will be sent. */

/**
 * What the server can, for objects that are kept as `options` say. Throws UserError for what publishing cannot do without, or
 * if objects are not kept so.
 */
export async function tryServer(
  uri: string,
  settings: S3Settings,
  signal: AbortSignal,
  options: ObjectOptions = BUCKET_DECIDES,
): Promise<TargetCheck> {
  const { bucket: Bucket, prefix } = parseS3(uri);
  const client = clientOf(settings, Bucket);
  const object = { Bucket, Key: prefix === "" ? PROBE : `${prefix}/${PROBE}` };
  const failed = (call: Call, error: unknown, condition?: string): never => {
    signal.throwIfAborted();
    const where = { bucket: Bucket, endpoint: settings.endpoint ?? "amazonaws.com", ...(condition === undefined ? {} : { condition }) };
    throw s3Error(error, call, where, object.Key);
  };
  const place: ProbePlace = { client, object, options, signal, failed };
  const storeOf = (abilities: ServerAbilities): ObjectStore => openStore(uri, { ...settings, abilities }, options, signal);
  // of killed runs, unless a run is at work there now: they are removed when all of this has passed
  const [left, found] = await Promise.all([listUploads(client, object, signal), tryWriting(place)]);
  let [can, why] = found;
  const store = storeOf(can);
  try {
    const write = (): Promise<void> => store.write(PROBE, PROBE_BYTES);
    can = { ...can, metadata: await settled(signal, write, () => judgeObject(place, store, can)) };
    if (!can.metadata && apart(options).length > 0)
      throw new UserError("the server keeps no metadata, by which Roslin tells how an object is kept", { target: uri });
    const upload = (): Promise<string | null> =>
      settled(
        signal,
        () => Promise.resolve(),
        () => tryUpload(place, can, store),
        (error) => error instanceof UserError,
      );
    if (can.checksums) {
      why = (await tryWrongBytes(place, can)) ?? (await upload());
      can = { ...can, checksums: why === null };
    }
    if (!can.checksums) await upload();
    for (const uploadId of left) await abortUpload(client, { ...object, uploadId }, signal).catch(() => undefined);
  } finally {
    // with the right to write but not to remove, it stays there, and publishing works all the same
    await store.delete(PROBE).catch(() => undefined);
  }
  signal.throwIfAborted();
  const note = `${uri} does not check the SHA-256 of what is sent there: ${why}; so all that is published is read back and compared`;
  return { abilities: can, ...(why === null ? {} : { note }) };
}

/** Writes the probe in one form after another, with all that Amazon's servers take first. The form that the server takes, and why it takes no checksum. */
async function tryWriting({ client, object, options, signal, failed }: ProbePlace): Promise<[ServerAbilities, string | null]> {
  const call = { doing: "writing an object", right: "s3:PutObject" };
  let why: string | null = null;
  for (const checksums of [true, false])
    for (const metadata of [true, false]) {
      const can = { checksums, metadata };
      try {
        await client.send(new PutObjectCommand(putInput(can, object, probe(), options)), { abortSignal: signal });
        return [can, checksums ? null : why];
      } catch (error) {
        if (!refusesForm(error) || (!checksums && !metadata)) failed(call, error);
        why = `it refuses objects that are sent with one (${messageOf(error)})`;
      }
    }
  throw new Error("unreachable");
}

function probe(): { Body: Uint8Array; checksum: string } {
  return { Body: PROBE_BYTES, checksum: checksumOfBytes(PROBE_BYTES) };
}

/** Throws unless the object that was just written is there, kept as it should be, and guarded by conditions. Another run's probe in between looks like a fault of the server. Whether the server keeps metadata. */
async function judgeObject(place: ProbePlace, store: ObjectStore, can: ServerAbilities): Promise<boolean> {
  const { client, object, signal, failed } = place;
  const target = store.uri;
  // looks for other servers than S3's first
  const back = await readAll(store, PROBE);
  const there =
    back === null || !PROBE_BYTES.equals(back)
      ? null
      : await client
          .send(new HeadObjectCommand(headInput(can, object)), { abortSignal: signal })
          .catch((error: unknown) => failed({ doing: "looking at an object", right: "s3:GetObject" }, error));
  if (there !== null && there.ContentLength !== PROBE_BYTES.length)
    throw new UserError("the server gives an object another size than it has: publish to another", {
      target,
      expected: PROBE_BYTES.length,
      got: there.ContentLength,
    });
  if (there !== null) await checkKept(place, there);
  await judgeProbe(store, back);
  const part = await readAll({ read: (key) => store.read(key, { start: 2, end: 9 }) }, PROBE);
  if (part?.equals(PROBE_BYTES.subarray(2, 9)) !== true)
    throw new UserError("the server gives another range of bytes than it was asked for: publish to another", { target });
  await checkMatch(place, can, target);
  if (!(await store.replace(PROBE, PROBE_BYTES, PROBE_BYTES)))
    throw new UserError(
      "the server does not replace an object when the condition names its version, so latest.json could not move: update the server, or publish to another",
      { target, condition: "If-Match" },
    );
  return there?.Metadata?.["sha256"] !== undefined;
}

/** A server must refuse to replace another version of an object than the one that is named. */
async function checkMatch({ client, object, options, signal, failed }: ProbePlace, can: ServerAbilities, target: string): Promise<void> {
  const command = new PutObjectCommand({ ...putInput(can, object, probe(), options), IfMatch: `"${"0".repeat(32)}"` });
  try {
    await client.send(command, { abortSignal: signal });
  } catch (error) {
    if ([404, 409, 412].includes(statusOf(error) ?? 0)) return;
    failed({ doing: "writing an object under a condition", right: "s3:PutObject" }, error, "If-Match");
  }
  throw new UserError(
    "the server overwrites another version of an object than it was told to: publishing needs conditional writes (If-None-Match, If-Match); update the server, or publish to another",
    { target, condition: "If-Match" },
  );
}

/** Whether the server takes bytes that don't have the SHA-256 that is sent with them, in words; null: it does not. */
async function tryWrongBytes({ client, object, options, signal, failed }: ProbePlace, can: ServerAbilities): Promise<string | null> {
  const wrong = { Body: PROBE_BYTES, checksum: checksumOfBytes(Buffer.from("other bytes")) };
  try {
    await client.send(new PutObjectCommand(putInput(can, object, wrong, options)), { abortSignal: signal });
    return "it takes an object that does not have the SHA-256 that was sent with it";
  } catch (error) {
    // 403: the signature covers the digest, and some servers say that it is wrong
    if (statusOf(error) === 403 || refusesForm(error)) return null;
    return failed({ doing: "writing an object with a wrong digest", right: "s3:PutObject" }, error);
  }
}

/** Some servers accept a setting that they don't know, and ignore it. */
async function checkKept(
  { client, object, options: { encryption, storageClass, tags }, signal }: ProbePlace,
  { ServerSideEncryption, StorageClass = "STANDARD" }: HeadObjectCommandOutput,
): Promise<void> {
  const ignored = (field: string, expected: string, got: string): UserError =>
    new UserError(`the server ignores publish.${field}`, { expected, got });
  if (encryption !== null && ServerSideEncryption !== encryption)
    throw ignored("encryption", encryption, ServerSideEncryption ?? "no encryption");
  if (storageClass !== null && StorageClass !== storageClass) throw ignored("storageClass", storageClass, StorageClass);
  if (Object.keys(tags).length === 0) return;
  // with the right to set tags but not to read them, tags are set all the same
  const kept = await client.send(new GetObjectTaggingCommand(object), { abortSignal: signal }).catch(() => null);
  const text = (set: Readonly<Record<string, string>>): string => JSON.stringify(Object.entries(set).sort());
  const got = Object.fromEntries((kept?.TagSet ?? []).map(({ Key, Value }) => [Key!, Value!]));
  if (kept !== null && text(got) !== text(tags)) throw ignored("tags", text(tags), text(got));
}
