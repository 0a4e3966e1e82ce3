import * as library from "@huggingface/tokenizers";
import type { CompilePattern } from "../../core/text/split-patterns.js";

/** The library's own types of its parts do not resolve. */
const { SplitPreTokenizer } = library as unknown as {
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp };
};

/** A regular expression of a tokenizer.json as JavaScript has it, by Hugging Face's library; null: the library can't read it. */
export const compilePattern: CompilePattern = (pattern) => {
  try {
    const { source, flags } = new SplitPreTokenizer({ type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false })
      .pattern;
    // these letters have a third form in `tokenizers`
    return new RegExp(source.replaceAll("[sS]", "[sSſ]").replaceAll("[kK]", "[kK\u212a]"), flags);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};
