import { symbolsOfBytes } from "./byte-symbols.js";

/** Rebuilds GPT-2's tokenizer.json from the ranks of its tokens alone, because they determine the merges. */

/** Number of tokens that GPT-J adds after <|endoftext|>: they round the size of its vocabulary up. */
const EXTRA_TOKENS = 143;

/** GPT-J's tokenizer.json. `ranks`: the bytes of every GPT-2 token except <|endoftext|>, in order of id. */
export function gpt2TokenizerJson(ranks: readonly Uint8Array[]): Record<string, unknown> {
  const tokens = ranks.map(symbolsOfBytes);
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const merges = tokens.filter((token) => token.length > 1).map((token) => lastMerge(token, idOf));
  const added = ["<|endoftext|>", ...Array.from({ length: EXTRA_TOKENS }, (_, index) => `<|extratoken_${index + 1}|>`)];
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added.map((content, index) => ({ id: tokens.length + index, content, ...flags, special: index === 0 })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    post_processor: { type: "ByteLevel", add_prefix_space: true, trim_offsets: false },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      vocab: Object.fromEntries([...tokens, added[0]!].map((token, id) => [token, id])),
      merges,
    },
  };
}

/** "left right": the two tokens that remain of a token's symbols after all earlier merges. */
function lastMerge(token: string, idOf: ReadonlyMap<string, number>): string {
  const parts = [...token];
  while (parts.length > 2) {
    let best = -1;
    let bestId = Infinity;
    for (let at = 0; at + 1 < parts.length; at++) {
      const id = idOf.get(parts[at]! + parts[at + 1]!) ?? Infinity;
      if (id < bestId) [best, bestId] = [at, id];
    }
    parts.splice(best, 2, parts[best]! + parts[best + 1]!);
  }
  return parts.join(" ");
}
