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
      body ??= chunksOf(partial(await ask(at, first.ETag)));
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

/** The answer, if it is the range that was asked for and not the whole object again. */
function partial(answer: GetObjectCommandOutput): GetObjectCommandOutput {
  if (answer.$metadata.httpStatusCode === 206) return answer;
  // it is not read, and its error when the connection is closed would be unhandled
  (answer.Body as Readable).destroy();
  throw new UserError("the S3 server, or a proxy before it, does not serve ranges of bytes", { got: answer.$metadata.httpStatusCode });
}

function chunksOf({ Body }: GetObjectCommandOutput): AsyncIterator<Uint8Array> {
  return (Body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
}
