import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { UserError } from "../../core/errors.js";
import { s3Error, statusOf } from "./s3-errors.js";
import { abortStrays, planParts, uploadFile } from "./s3-upload.js";
import type { ObjectStore } from "./store.js";

/** How to reach S3; what is left out comes from the AWS provider chain. */
export interface S3Settings {
  /** of another server than Amazon's; buckets are then parts of the path */
  readonly endpoint?: string;
  readonly region?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
}

/** The settings that environment variables name; without keys among them, or with a profile, those are left to the provider chain. Throws UserError for an address that is none. */
export function s3SettingsOf(variables: Readonly<Record<string, string | undefined>>): S3Settings {
  const endpoint = variables["AWS_ENDPOINT_URL_S3"] || variables["AWS_ENDPOINT_URL"];
  if (endpoint && !/^https?:\/\/[^/]/.test(endpoint))
    throw new UserError("S3's address is no http or https URL: correct AWS_ENDPOINT_URL_S3", { got: endpoint });
  const region = variables["AWS_REGION"] || variables["AWS_DEFAULT_REGION"];
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = variables;
  const named = accessKeyId && secretAccessKey && !variables["AWS_PROFILE"];
  const credentials = named ? { credentials: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) } } : {};
  return { ...(endpoint ? { endpoint } : {}), ...(region ? { region } : {}), ...credentials };
}

/** Milliseconds without a byte after which a connection counts as dead. */
const IDLE_MS = 60_000;

/** Names the writer of an object, so that a lost answer to a creation can be told from a lost race. */
const NONCE = "roslin-nonce";

/** A client of S3 with these settings. */
export function s3Client(settings: S3Settings): S3Client {
  return new S3Client({
    ...settings,
    ...(settings.endpoint === undefined ? {} : { forcePathStyle: true, region: settings.region ?? "us-east-1" }),
    requestHandler: { connectionTimeout: 5_000, socketTimeout: IDLE_MS },
  });
}

/** A store in a bucket, below a prefix ("" for none); errors as `s3Error` words them. */
export function s3Store(bucket: string, prefix: string, settings: S3Settings): ObjectStore {
  const client = s3Client(settings);
  const where = { bucket, endpoint: settings.endpoint ?? "amazonaws.com" };
  const below = prefix === "" ? "" : `${prefix}/`;
  const at = (key: string): { Bucket: string; Key: string } => ({ Bucket: bucket, Key: below + key });
  const failed =
    (doing: string, key?: string) =>
    (error: unknown): never => {
      throw s3Error(error, doing, where, key === undefined ? undefined : below + key);
    };

  // without the right to list, S3 calls a missing object forbidden; wrong keys are told by the writing that follows
  const head = (key: string): Promise<{ bytes: number; metadata: Record<string, string> } | null> =>
    client.send(new HeadObjectCommand(at(key))).then(
      (found) => ({ bytes: found.ContentLength ?? 0, metadata: found.Metadata ?? {} }),
      (error: unknown) => ([403, 404].includes(statusOf(error) ?? 0) ? null : failed("looking at an object", key)(error)),
    );

  /** Writes under a condition; false when it didn't hold. */
  const writeIf = async (key: string, bytes: Uint8Array, condition: { IfNoneMatch: string } | { IfMatch: string }): Promise<boolean> => {
    const nonce = randomUUID();
    try {
      await client.send(new PutObjectCommand({ ...at(key), ...condition, Body: bytes, Metadata: { [NONCE]: nonce } }));
      return true;
    } catch (error) {
      // an answer may be lost and the SDK's own retry then finds our object there: the nonce tells
      const there = await head(key).catch(() => null);
      if (there?.metadata[NONCE] === nonce) return true;
      if ([404, 409, 412].includes(statusOf(error) ?? 0) && (there !== null || "IfMatch" in condition)) return false;
      return failed("writing an object under a condition", key)(error);
    }
  };

  return {
    uri: `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`,
    async read(key, range) {
      const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` };
      try {
        const { Body } = await client.send(new GetObjectCommand({ ...at(key), ...Range }));
        return Body as AsyncIterable<Uint8Array>;
      } catch (error) {
        if ((error as Error).name === "NoSuchKey") return null;
        return failed("reading an object", key)(error);
      }
    },
    async write(key, bytes) {
      await client.send(new PutObjectCommand({ ...at(key), Body: bytes })).catch(failed("writing an object", key));
    },
    create: (key, bytes) => writeIf(key, bytes, { IfNoneMatch: "*" }),
    async replace(key, bytes, before) {
      if (before === null) return writeIf(key, bytes, { IfNoneMatch: "*" });
      try {
        const { Body, ETag } = await client.send(new GetObjectCommand(at(key)));
        if (Buffer.compare(await Body!.transformToByteArray(), before) !== 0) return false;
        return await writeIf(key, bytes, { IfMatch: ETag! });
      } catch (error) {
        if ((error as Error).name === "NoSuchKey") return false;
        return failed("replacing an object", key)(error);
      }
    },
    async putFile(key, path, upload) {
      const { size } = await stat(path);
      const there = await head(key);
      if (there?.bytes === size && there.metadata["sha256"] === upload.sha256) {
        upload.onBytes(size);
        if (planParts(size).length > 1) await abortStrays(client, at(key));
        return false;
      }
      await uploadFile(client, at(key), { path, size }, upload).catch((error: unknown) => {
        upload.signal.throwIfAborted();
        return failed("uploading a file", key)(error);
      });
      return true;
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
        const page = await client.send(command).catch(failed("listing objects"));
        for (const { Key, Size } of page.Contents ?? []) found.push({ key: Key!.slice(below.length), bytes: Size ?? 0 });
        token = page.NextContinuationToken;
      } while (token !== undefined);
      return found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    },
    async delete(key) {
      await client.send(new DeleteObjectCommand(at(key))).catch(failed("deleting an object", key));
    },
  };
}
