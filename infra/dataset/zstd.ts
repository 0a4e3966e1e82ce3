import { ReaderThread } from "./reader-thread.js";

/** Bytes to unpack, or none: go on with those that came before; `end`: there are no more. */
export interface ZstdQuestion {
  readonly input: Uint8Array | null;
  readonly end: boolean;
}

/** Unpacked bytes; `more`: there are more of the same input. */
export interface ZstdAnswer {
  readonly output: Uint8Array;
  readonly more: boolean;
}

/** Unpacks Zstandard, also several frames one after the other, in a thread of its own. Throws UserError naming the file if it is cut or damaged. */
export async function* unzstd(source: AsyncIterable<Uint8Array>, file: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const thread = new ReaderThread<ZstdQuestion, ZstdAnswer>("zstd-thread.js", file, signal, { file, what: "whole zstd data" });
  try {
    async function* answers(question: ZstdQuestion): AsyncGenerator<Uint8Array> {
      let answer = await thread.ask(question);
      if (answer.output.length > 0) yield answer.output;
      while (answer.more) {
        answer = await thread.ask({ input: null, end: question.end });
        if (answer.output.length > 0) yield answer.output;
      }
    }
    for await (const input of source) yield* answers({ input, end: false });
    yield* answers({ input: null, end: true });
  } finally {
    await thread.end();
  }
}
