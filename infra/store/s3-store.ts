import { createHash, randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type GetObjectCommandOutput,
} from "@aws-sdk/client-s3";
import { CorruptError, UserError } from "../../core/errors.js";
import { checksumOf, planParts } from "../disk/file-digest.js";
import { isMissing, s3Error, statusOf, type Call } from "./s3-errors.js";
import { abortStrays, dropJournal } from "./s3-journal.js";
import { addMiddleware } from "./s3-middleware.js";
import { BUCKET_DECIDES, keptAs } from "./s3-options.js";
import { checkRange, readOn } from "./s3-read.js";
import { ALL_ABILITIES, checksumOfBytes, headInput, inBase64, putInput } from "./s3-requests.js";
import { uploadFile, type Source } from "./s3-upload.js";
import { readAll, type FileUpload, type ObjectStore, type ServerAbilities } from "./store.js";

/** How to reach S3; settings that are left out come from the AWS provider chain. */
export interface S3Settings {
  /** of another server than Amazon's; buckets are then parts of the path */
  readonly endpoint?: string;
  readonly region?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
  /** what the server can, as `checkTarget` found out; left out: all that Amazon's can */
  readonly abilities?: ServerAbilities;
}

/** The settings in environment variables. Keys are left to the provider chain if there are none, or if a profile is named. Throws UserError if the address is not a URL. */
export function s3SettingsOf(variables: Readonly<Record<string, string | undefined>>): S3Settings {
  const endpoint = variables["AWS_ENDPOINT_URL_S3"] || variables["AWS_ENDPOINT_URL"];
  // the address goes into errors, logs and history
  if (endpoint?.includes("@"))
    throw new UserError(
      "S3's address holds a name or a password: take out of AWS_ENDPOINT_URL_S3 what stands before the @, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
  if (endpoint && !/^https?:\/\/[^/]/.test(endpoint))
    throw new UserError("S3's address is not an http or https URL: correct AWS_ENDPOINT_URL_S3", { got: endpoint });
  const region = variables["AWS_REGION"] || variables["AWS_DEFAULT_REGION"];
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = variables;
  const named = accessKeyId && secretAccessKey && !variables["AWS_PROFILE"];
  const credentials = named ? { credentials: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) } } : {};
  return { ...(endpoint ? { endpoint } : {}), ...(region ? { region } : {}), ...credentials };
}

/** Milliseconds without a byte after which a connection counts as dead. */
const IDLE_MS = 60_000;

/** The metadata field that names an object's writer: it tells a lost answer to a creation from a lost race. */
const NONCE = "roslin-nonce";

/** A client of these settings. */
export function s3Client({ endpoint, region, credentials }: S3Settings): S3Client {
  const client = new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true, region: region ?? "us-east-1" }),
    // objects are sent with their SHA-256, or where a server does not take it, with nothing
    requestChecksumCalculation: "WHEN_REQUIRED",
    requestHandler: { connectionTimeout: 5_000, socketTimeout: IDLE_MS },
  });
  addMiddleware(client);
  return client;
}

const clients = new Map<string, S3Client>();

/**
 * The client for one bucket, whose region it has learnt. All callers with these settings share it, so that credentials are
 * loaded, and connections made, once.
 */
export function clientOf(settings: S3Settings, bucket: string): S3Client {
  const name = JSON.stringify([settings.endpoint, settings.region, settings.credentials, bucket]);
  let client = clients.get(name);
  if (client === undefined) clients.set(name, (client = s3Client(settings)));
  return client;
}

/** The calls that a store makes, with the rights that they need. */
const CALLS = {
  look: { doing: "looking at an object", right: "s3:GetObject" },
  read: { doing: "reading an object", right: "s3:GetObject" },
  write: { doing: "writing an object", right: "s3:PutObject" },
  writeIf: { doing: "writing an object under a condition", right: "s3:PutObject" },
  upload: { doing: "uploading a file", right: "s3:PutObject" },
  discard: { doing: "removing an unfinished upload", right: "s3:AbortMultipartUpload" },
  list: { doing: "listing objects", right: "s3:ListBucket" },
  delete: { doing: "deleting an object", right: "s3:DeleteObject" },
} as const satisfies Record<string, Call>;

/** How often an upload begins again because another run, which published the same object, removed it. */
const TRIES = 3;

/** A store in a bucket, below a prefix ("": none), that keeps objects as `options` say; its calls end with the signal. Throws the errors of `s3Error`. */
export function s3Store(
  bucket: string,
  prefix: string,
  settings: S3Settings,
  options = BUCKET_DECIDES,
  abortSignal = new AbortController().signal,
): ObjectStore {
  const client = clientOf(settings, bucket);
  const { abilities: can = ALL_ABILITIES } = settings;
  const where = { bucket, endpoint: settings.endpoint ?? "amazonaws.com" };
  const below = prefix === "" ? "" : `${prefix}/`;
  const at = (key: string): { Bucket: string; Key: string } => ({ Bucket: bucket, Key: below + key });
  const failed =
    (call: Call, key?: string, condition: { readonly condition?: string } = {}) =>
    (error: unknown): never => {
      abortSignal.throwIfAborted();
      throw s3Error(error, call, { ...where, ...condition }, key === undefined ? undefined : below + key);
    };

  // without the right to list, S3 calls a missing object forbidden; an answer to HEAD has no text, so wrong or expired keys
  // are reported by the write that follows
  const head = (key: string): Promise<Head | null> =>
    client.send(new HeadObjectCommand(headInput(can, at(key))), { abortSignal }).then(
      ({ ContentLength = 0, Metadata = {}, ChecksumSHA256, ETag = "" }) => ({
        bytes: ContentLength,
        metadata: Metadata,
        checksum: ChecksumSHA256 ?? null,
        etag: ETag,
      }),
      (error: unknown) => ([400, 403, 404].includes(statusOf(error) ?? 0) ? null : failed(CALLS.look, key)(error)),
    );

  const read = async (key: string, range?: { readonly start: number; readonly end: number }): Promise<AsyncIterable<Uint8Array> | null> => {
    const ask = (from: number, IfMatch?: string, part = true): Promise<GetObjectCommandOutput> => {
      const Range = part ? { Range: `bytes=${from}-${range === undefined ? "" : range.end - 1}` } : {};
      return client.send(new GetObjectCommand({ ...at(key), ...Range, ...(IfMatch === undefined ? {} : { IfMatch }) }), { abortSignal });
    };
    const worded = (error: unknown): Error =>
      [404, 412].includes(statusOf(error) ?? 0)
        ? new UserError("an object changed, or was removed, while it was read: start again", { bucket, key: below + key })
        : s3Error(error, CALLS.read, where, below + key);
    const start = range?.start ?? 0;
    try {
      const first = await ask(start, undefined, range !== undefined);
      return readOn(range === undefined ? first : checkRange(first, range), start, ask, worded, abortSignal);
    } catch (error) {
      return isMissing(error) ? null : failed(CALLS.read, key)(error);
    }
  };

  /** Whether an object, read back, has a file's bytes. */
  const readsBack = async (key: string, { digest, signal }: FileUpload): Promise<boolean> => {
    const hash = createHash("sha256");
    for await (const chunk of (await read(key)) ?? []) {
      signal.throwIfAborted();
      hash.update(chunk);
    }
    return hash.digest("hex") === digest.sha256;
  };

  /**
   * Whether an object has a file's bytes and is kept as it should be: by the SHA-256 that the server computed and keeps, else by
   * the one in the object's metadata, if the server compared it with the bytes; else the object is read back.
   */
  const isThere = async (key: string, source: Source, upload: FileUpload): Promise<boolean> => {
    const { digest } = upload;
    const there = await head(key);
    if (there?.bytes !== source.size) return false;
    const { metadata, checksum } = there;
    if (can.metadata && metadata["roslin-kept"] !== keptAs(options)["roslin-kept"]) return false;
    if (can.checksums && checksum !== null) return [checksumOf(digest), inBase64(digest.sha256)].includes(checksum);
    if (can.checksums && metadata["sha256"] !== undefined) return metadata["sha256"] === digest.sha256;
    return await readsBack(key, upload);
  };

  /** Writes if the object has this ETag (null: if there is none); false when it has another. */
  const writeIf = async (key: string, bytes: Uint8Array, etag: string | null): Promise<boolean> => {
    const nonce = randomUUID();
    const sent = { Body: bytes, checksum: checksumOfBytes(bytes) };
    const input = putInput(can, at(key), sent, options, { [NONCE]: nonce });
    const command = new PutObjectCommand({ ...input, ...(etag === null ? { IfNoneMatch: "*" } : { IfMatch: etag }) });
    try {
      await client.send(command, { abortSignal });
      return true;
    } catch (error) {
      // if an answer is lost, the SDK's own retry finds our object there: the nonce tells whose it is, or else the bytes
      const there = await head(key).catch(() => null);
      const isOurs = async (): Promise<boolean> =>
        isRepeated(error) && (await readAll({ read }, key).catch(() => null))?.equals(bytes) === true;
      if (can.metadata ? there?.metadata[NONCE] === nonce : await isOurs()) return true;
      if ([404, 409, 412].includes(statusOf(error) ?? 0) && (there !== null || etag !== null)) return false;
      return failed(CALLS.writeIf, key, { condition: etag === null ? "If-None-Match" : "If-Match" })(error);
    }
  };

  return {
    uri: `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`,
    read,
    async write(key, bytes) {
      const command = new PutObjectCommand(putInput(can, at(key), { Body: bytes, checksum: checksumOfBytes(bytes) }, options));
      await client.send(command, { abortSignal }).catch(failed(CALLS.write, key));
    },
    create: (key, bytes) => writeIf(key, bytes, null),
    async replace(key, bytes, before) {
      if (before === null) return writeIf(key, bytes, null);
      try {
        // a server that redirects to a CDN may name the version only here; whatever changes from now on, the condition finds
        const there = await head(key);
        const { Body, ETag = there?.etag } = await client.send(new GetObjectCommand(at(key)), { abortSignal });
        if (Buffer.compare(await Body!.transformToByteArray(), before) !== 0 || !ETag) return false;
        return await writeIf(key, bytes, ETag);
      } catch (error) {
        return isMissing(error) ? false : failed(CALLS.read, key)(error);
      }
    },
    async putFile(key, path, upload) {
      const source = { path, size: (await stat(path)).size };
      for (let tried = 1; ; tried++) {
        if (await isThere(key, source, upload)) {
          upload.onBytes(source.size);
          await dropJournal(client, upload.journal, upload.signal).catch(() => undefined);
          if (planParts(source.size).length > 1) await abortStrays(client, at(key), upload.signal);
          return false;
        }
        try {
          await uploadFile(client, at(key), source, upload, options, can);
          break;
        } catch (error) {
          upload.signal.throwIfAborted();
          if ((error as Error).name !== "NoSuchUpload" || tried === TRIES) failed(CALLS.upload, key)(error);
        }
      }
      if (!can.checksums && !(await isThere(key, source, upload)))
        throw new CorruptError("a file was uploaded and has other bytes when it is read back", { ...where, key: below + key, file: path });
      return true;
    },
    // without the signal: what a stopped upload left is removed all the same
    discard: (journal) => dropJournal(client, journal).catch(failed(CALLS.discard)),
    async seal(key) {
      const there = await head(key);
      return there === null ? null : `${there.bytes} ${there.checksum ?? there.etag} ${there.metadata["roslin-kept"] ?? ""}`.trimEnd();
    },
    async list(prefix) {
      const found: { key: string; bytes: number }[] = [];
      let token: string | undefined;
      do {
        const command = new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: below + prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        });
        const page = await client.send(command, { abortSignal }).catch(failed(CALLS.list));
        for (const { Key, Size } of page.Contents ?? []) found.push({ key: Key!.slice(below.length), bytes: Size ?? 0 });
        token = page.NextContinuationToken;
      } while (token !== undefined);
      return found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    },
    async delete(key) {
      await client.send(new DeleteObjectCommand(at(key)), { abortSignal }).catch(failed(CALLS.delete, key));
    },
  };
}

/** Whether a request was sent more than once, or its answer is lost: it may have been carried out. */
function isRepeated(error: unknown): boolean {
  const { attempts = 1 } = (error as { readonly $metadata?: { readonly attempts?: number } }).$metadata ?? {};
  return attempts > 1 || statusOf(error) === undefined;
}

interface Head {
  readonly bytes: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** the SHA-256 that the server keeps, in base64; for an object that came in parts, the SHA-256 of their digests */
  readonly checksum: string | null;
  readonly etag: string;
}
