import type { Readable } from "node:stream";
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import { PassingError, TIMING, withRetries } from "../http/retries.js";

/** Asks for an object's bytes from byte `start` on, of the version with that ETag. */
export type Ask = (start: number, etag: string | undefined) => Promise<GetObjectCommandOutput>;

/**
 * The bytes of an answer that begins at the object's byte `start`; if the body breaks off, the rest is asked for. Throws
 * UnreachableError if nothing more comes, UserError if the object has changed by then.
 */
export async function* readOn(
  first: GetObjectCommandOutput,
  start: number,
  ask: Ask,
  worded: (error: unknown) => Error,
  signal: AbortSignal,
  timing = TIMING,
): AsyncGenerator<Uint8Array> {
  const end = start + (first.ContentLength ?? Infinity);
  let at = start;
  let body: AsyncIterator<Uint8Array> | null = chunksOf(first);
  const next = async (): Promise<IteratorResult<Uint8Array, unknown>> => {
    try {
      body ??= chunksOf(sameVersion(checkRange(await ask(at, first.ETag), { start: at, end: at }), first.ETag));
      return await body.next();
    } catch (error) {
      body = null;
      // all bytes came, and they don't have the server's checksum
      if (at === end) throw new CorruptError(`an object is damaged: ${messageOf(error)}`, {}, { cause: error });
      const known = worded(error);
      throw known instanceof UserError ? known : new PassingError(messageOf(known), 0, { cause: known });
    }
  };
  try {
    for (;;) {
      const chunk = await withRetries(timing, { signal }, () => at, next);
      if (chunk.done === true) return;
      at += chunk.value.length;
      yield chunk.value;
    }
  } finally {
    // a reader that doesn't want the rest frees the connection
    await (body as AsyncIterator<Uint8Array> | null)?.return?.();
  }
}

/** Whether an answer has the range that was asked for, and not the whole object. A server may send that without a word if the range is all of it. */
export function hasRange({ $metadata, ContentLength = Infinity }: GetObjectCommandOutput, { start, end }: Range): boolean {
  return $metadata.httpStatusCode === 206 || (start === 0 && ContentLength <= end);
}

type Range = { readonly start: number; readonly end: number };

/** The answer, if it has the range that was asked for. Throws UserError if it is the whole object. */
export function checkRange(answer: GetObjectCommandOutput, range: Range): GetObjectCommandOutput {
  if (hasRange(answer, range)) return answer;
  const got = answer.$metadata.httpStatusCode;
  return refused(answer, new UserError("the S3 server, or a proxy before it, does not serve ranges of bytes", { got }));
}

/** The answer, if it is of the version with that ETag: some servers ignore If-Match when they are read. Throws UserError. */
export function sameVersion(answer: GetObjectCommandOutput, etag: string | undefined): GetObjectCommandOutput {
  const bare = (each: string): string => each.replaceAll('"', "");
  if (answer.ETag === undefined || etag === undefined || bare(answer.ETag) === bare(etag)) return answer;
  return refused(answer, new UserError("an object changed while it was read: start again", { expected: etag, got: answer.ETag }));
}

/** Throws, and lets the body go: it is not read, and its error when the connection is closed would be unhandled. */
export function refused({ Body }: GetObjectCommandOutput, error: Error): never {
  (Body as Readable).destroy();
  throw error;
}

function chunksOf({ Body }: GetObjectCommandOutput): AsyncIterator<Uint8Array> {
  return (Body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
}
