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
      body ??= chunksOf(sameVersion(partial(await ask(at, first.ETag)), first));
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

/** The answer, if it has the range that was asked for. Throws UserError if the server sends the whole object instead. */
export function checkRange(
  answer: GetObjectCommandOutput,
  { start, end }: { readonly start: number; readonly end: number },
): GetObjectCommandOutput {
  // a server may send the whole object without a word if the range is all of it
  return start === 0 && answer.ContentLength !== undefined && answer.ContentLength <= end ? answer : partial(answer);
}

/** The answer, if it is a range and not the whole object again. */
function partial(answer: GetObjectCommandOutput): GetObjectCommandOutput {
  if (answer.$metadata.httpStatusCode === 206) return answer;
  return refused(
    answer,
    new UserError("the S3 server, or a proxy before it, does not serve ranges of bytes", { got: answer.$metadata.httpStatusCode }),
  );
}

/** The answer, if it is of the same version as the first one: some servers ignore If-Match when they are read. */
function sameVersion(answer: GetObjectCommandOutput, { ETag }: GetObjectCommandOutput): GetObjectCommandOutput {
  if (answer.ETag === ETag || answer.ETag === undefined || ETag === undefined) return answer;
  return refused(answer, new UserError("an object changed while it was read: start again", { expected: ETag, got: answer.ETag }));
}

/** Throws, and lets the body go: it is not read, and its error when the connection is closed would be unhandled. */
function refused({ Body }: GetObjectCommandOutput, error: UserError): never {
  (Body as Readable).destroy();
  throw error;
}

function chunksOf({ Body }: GetObjectCommandOutput): AsyncIterator<Uint8Array> {
  return (Body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
}
