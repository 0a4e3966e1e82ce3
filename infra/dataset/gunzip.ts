import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { UserError, messageOf } from "../../core/errors.js";

/** Unpacks gzip, also several members one after the other. Throws UserError naming the file if it is cut or damaged. */
export async function* gunzip(source: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<Uint8Array> {
  const stream = createGunzip({ chunkSize: 1 << 18 });
  const input = source[Symbol.asyncIterator]();
  let given = 0;
  let failure: unknown;
  let last: Uint8Array = new Uint8Array();
  async function* counted(): AsyncGenerator<Uint8Array> {
    for (let next = await input.next(); next.done !== true; next = await input.next()) {
      last = next.value;
      given += last.length;
      yield last;
    }
  }
  const feeding = pipeline(counted(), stream).catch((error: unknown) => void (failure ??= error));
  try {
    try {
      for await (const chunk of stream) yield chunk as Uint8Array;
    } catch (error) {
      // an error of the source came first, and is the one to tell
      throw failure instanceof Error && !isOfZlib(failure) ? failure : gzipError(error, file);
    }
    // the decoder stops at zeros, with which some writers fill up a block, and hears nothing of what follows them
    let rest = last.subarray(Math.max(0, last.length - (given - stream.bytesWritten)));
    for (;;) {
      if (rest.some((byte) => byte !== 0)) throw gzipError(new Error("there is something after its end"), file);
      const next = await input.next();
      if (next.done === true) break;
      rest = next.value;
    }
  } finally {
    stream.destroy();
    await feeding;
    await input.return?.();
  }
}

function isOfZlib(error: Error): boolean {
  return (
    (error as NodeJS.ErrnoException).code?.startsWith("Z_") === true ||
    (error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE"
  );
}

function gzipError(error: unknown, file: string): Error {
  if (error instanceof UserError || (error as NodeJS.ErrnoException).syscall !== undefined) return error as Error;
  const cut = messageOf(error).includes("unexpected end of file");
  return new UserError(
    `a data file's gzip data is ${cut ? "cut" : "damaged"}: download or make the file again`,
    { file },
    { cause: error },
  );
}
