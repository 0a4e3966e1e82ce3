import type { Readable } from "node:stream";
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import { PassingError, TIMING, withRetries } from "../http/retries.js";

/** Asks for an object's bytes from the `start`th on, of the version with that ETag. */
export type Ask = (start: number, etag: string | undefined) => Promise<GetObjectCommandOutput>;

/**
 * The bytes of an answer whose first one is the object's `start`th; where its body breaks off, the rest is asked for.
 * Throws UnreachableError when nothing more comes, UserError when the object is another by then.
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
      // all came, and is not what the server's checksum says
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
    // who doesn't want the rest lets the connection go
    await (body as AsyncIterator<Uint8Array> | null)?.return?.();
  }
}

/** An answer that is a part, as was asked, and not the whole again. */
function partial(answer: GetObjectCommandOutput): GetObjectCommandOutput {
  if (answer.$metadata.httpStatusCode === 206) return answer;
  // nobody reads it, and nobody would hear its error when the connection is given up
  (answer.Body as Readable).destroy();
  throw new UserError("the S3 server, or a proxy before it, does not serve ranges of bytes", { got: answer.$metadata.httpStatusCode });
}

function chunksOf({ Body }: GetObjectCommandOutput): AsyncIterator<Uint8Array> {
  return (Body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
}
