import { RESPONSE_KEY } from "../text/prompt.js";
import type { Encoder } from "../text/encoder.js";

/** What stands before the key in every row. */
const BEFORE = "a\n\n";

/** The response key's token ids in the middle of a text. At its beginning the key may have others, because a tokenizer may put a blank there. */
export function responseKeyIds(encoder: Pick<Encoder, "encode">): number[] {
  // the key's first character is a token, and what stands before it is the same before the whole key
  const before = encoder.encode(BEFORE + RESPONSE_KEY.charAt(0)).length - 1;
  return encoder.encode(BEFORE + RESPONSE_KEY).slice(before);
}
