import { randomUUID } from "node:crypto";
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
import { UserError } from "../../core/errors.js";
import { sha256 } from "../disk/files.js";
import { checksumOf, planParts } from "../disk/file-digest.js";
import { headerOf, s3Error, statusOf, type Call } from "./s3-errors.js";
import { abortStrays, dropJournal } from "./s3-journal.js";
import { BUCKET_DECIDES, headersOf, keptAs } from "./s3-options.js";
import { readOn } from "./s3-read.js";
import { uploadFile, type Source } from "./s3-upload.js";
import type { FileUpload, ObjectStore } from "./store.js";

/** How to reach S3; settings that are left out come from the AWS provider chain. */
export interface S3Settings {
  /** of another server than Amazon's; buckets are then parts of the path */
  readonly endpoint?: string;
  readonly region?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
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

/** Where a bucket is, when an error says that it is elsewhere. */
function regionIn(error: unknown): string | null {
  return [301, 307, 400].includes(statusOf(error) ?? 0) ? (headerOf(error, "x-amz-bucket-region") ?? null) : null;
}

/** The same error without the secrets that S3 sends with some errors, such as the session token: logs show an error's fields. */
function bared(error: unknown): unknown {
  for (const field of Object.keys(error as object)) if (!ERROR_FIELDS.has(field)) delete (error as Record<string, unknown>)[field];
  return error;
}

const ERROR_FIELDS = new Set(["name", "message", "$fault", "$metadata", "code", "errno", "syscall", "address", "port"]);

/** A client of these settings. */
export function s3Client(settings: S3Settings): S3Client {
  const client = new S3Client({
    ...settings,
    ...(settings.endpoint === undefined ? {} : { forcePathStyle: true, region: settings.region ?? "us-east-1" }),
    requestHandler: { connectionTimeout: 5_000, socketTimeout: IDLE_MS },
  });
  // the signature wants the digest that was sent along as checksum: nothing is digested twice
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { headers: Record<string, string> };
      const checksum = headers["x-amz-checksum-sha256"];
      if (checksum !== undefined) headers["x-amz-content-sha256"] = Buffer.from(checksum, "base64").toString("hex");
      return next(args);
    },
    { step: "build", priority: "low", name: "signedChecksum" },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      const region = await client.config.region();
      try {
        return await next(args);
      } catch (error) {
        const actual = regionIn(error);
        if (actual === null || actual === region) throw bared(error);
        // for good: the SDK's own way, back after every call, fails when calls overlap
        client.config.region = () => Promise.resolve(actual);
        return await next(args).catch((again: unknown) => {
          throw bared(again);
        });
      }
    },
    { step: "initialize", priority: "high", name: "followRegion" },
  );
  return client;
}

const clients = new Map<string, S3Client>();

/**
 * The client for one bucket, whose region it has learnt. All callers with these settings share it, so that credentials are
 * loaded, and connections made, once.
 */
export function clientOf(settings: S3Settings, bucket: string): S3Client {
  const name = JSON.stringify([settings, bucket]);
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
  const where = { bucket, endpoint: settings.endpoint ?? "amazonaws.com" };
  const below = prefix === "" ? "" : `${prefix}/`;
  const at = (key: string): { Bucket: string; Key: string } => ({ Bucket: bucket, Key: below + key });
  const failed =
    (call: Call, key?: string) =>
    (error: unknown): never => {
      abortSignal.throwIfAborted();
      throw s3Error(error, call, where, key === undefined ? undefined : below + key);
    };

  // without the right to list, S3 calls a missing object forbidden; an answer to HEAD has no text, so wrong or expired keys
  // are reported by the write that follows
  const head = (key: string): Promise<Head | null> =>
    client.send(new HeadObjectCommand({ ...at(key), ChecksumMode: "ENABLED" }), { abortSignal }).then(
      ({ ContentLength = 0, Metadata = {}, ChecksumSHA256, ETag = "" }) => ({
        bytes: ContentLength,
        metadata: Metadata,
        checksum: ChecksumSHA256 ?? null,
        etag: ETag,
      }),
      (error: unknown) => ([400, 403, 404].includes(statusOf(error) ?? 0) ? null : failed(CALLS.look, key)(error)),
    );

  /** Whether an object has a file's bytes and is kept as it should be, by the server's SHA-256 or, if it keeps none, by the object's metadata. */
  const isThere = async (key: string, source: Source, { digest }: FileUpload): Promise<boolean> => {
    const there = await head(key);
    if (there?.bytes !== source.size || there.metadata["roslin-kept"] !== keptAs(options)["roslin-kept"]) return false;
    return there.checksum === null ? there.metadata["sha256"] === digest.sha256 : there.checksum === checksumOf(digest);
  };

  /** Writes under a condition; false when it didn't hold. */
  const writeIf = async (key: string, bytes: Uint8Array, condition: { IfNoneMatch: string } | { IfMatch: string }): Promise<boolean> => {
    const nonce = randomUUID();
    const hex = sha256(bytes);
    // with all that `isThere` looks for: a later upload of the same bytes sends nothing
    const Metadata = { sha256: hex, ...keptAs(options), [NONCE]: nonce };
    const ChecksumSHA256 = Buffer.from(hex, "hex").toString("base64");
    const command = new PutObjectCommand({ ...at(key), ...headersOf(options), ...condition, Body: bytes, ChecksumSHA256, Metadata });
    try {
      await client.send(command, { abortSignal });
      return true;
    } catch (error) {
      // if an answer is lost, the SDK's own retry finds our object there: the nonce tells whose it is
      const there = await head(key).catch(() => null);
      if (there?.metadata[NONCE] === nonce) return true;
      if ([404, 409, 412].includes(statusOf(error) ?? 0) && (there !== null || "IfMatch" in condition)) return false;
      return failed(CALLS.writeIf, key)(error);
    }
  };

  return {
    uri: `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`,
    async read(key, range) {
      const ask = (start: number, IfMatch?: string): Promise<GetObjectCommandOutput> => {
        const part = range !== undefined || IfMatch !== undefined;
        const Range = part ? { Range: `bytes=${start}-${range === undefined ? "" : range.end - 1}` } : {};
        return client.send(new GetObjectCommand({ ...at(key), ...Range, ...(IfMatch === undefined ? {} : { IfMatch }) }), { abortSignal });
      };
      const worded = (error: unknown): Error =>
        [404, 412].includes(statusOf(error) ?? 0)
          ? new UserError("an object changed, or was removed, while it was read: start again", { bucket, key: below + key })
          : s3Error(error, CALLS.read, where, below + key);
      const start = range?.start ?? 0;
      try {
        return readOn(await ask(start), start, ask, worded, abortSignal);
      } catch (error) {
        if ((error as Error).name === "NoSuchKey") return null;
        return failed(CALLS.read, key)(error);
      }
    },
    async write(key, bytes) {
      const command = new PutObjectCommand({ ...at(key), ...headersOf(options), Body: bytes });
      await client.send(command, { abortSignal }).catch(failed(CALLS.write, key));
    },
    create: (key, bytes) => writeIf(key, bytes, { IfNoneMatch: "*" }),
    async replace(key, bytes, before) {
      if (before === null) return writeIf(key, bytes, { IfNoneMatch: "*" });
      try {
        const { Body, ETag } = await client.send(new GetObjectCommand(at(key)), { abortSignal });
        if (Buffer.compare(await Body!.transformToByteArray(), before) !== 0) return false;
        return await writeIf(key, bytes, { IfMatch: ETag! });
      } catch (error) {
        if ((error as Error).name === "NoSuchKey") return false;
        return failed(CALLS.read, key)(error);
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
          await uploadFile(client, at(key), source, upload, options);
          return true;
        } catch (error) {
          upload.signal.throwIfAborted();
          if ((error as Error).name !== "NoSuchUpload" || tried === TRIES) failed(CALLS.upload, key)(error);
        }
      }
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

interface Head {
  readonly bytes: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** the SHA-256 that the server keeps, in base64; for an object that came in parts, the SHA-256 of their digests */
  readonly checksum: string | null;
  readonly etag: string;
}
