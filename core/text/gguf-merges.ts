import { UserError } from "../errors.js";

/** Merges of a SentencePiece vocabulary, whose file has scores in their place. */

/** SentencePiece's own bound is 16; a longer token has more ways to be cut than anybody means. */
const MAX_TOKEN = 128;

/**
 * The merges that scores imply, as transformers derives them: every way to cut a token into two others, the tokens with the
 * best scores first. Throws UserError if a token is too long. `where`: the file's name.
 */
export function mergesOfScores(
  ids: ReadonlyMap<string, number>,
  tokens: readonly string[],
  scores: ArrayLike<number>,
  where: string,
): (readonly [string, string])[] {
  const merges: { readonly pair: readonly [string, string]; readonly score: number; readonly lengths: readonly [number, number] }[] = [];
  for (const [index, token] of tokens.entries()) {
    const ways = cuts(token, where).filter(({ pair }) => ids.has(pair[0]) && ids.has(pair[1]));
    ways.sort((a, b) => ids.get(a.pair[0])! - ids.get(b.pair[0])! || ids.get(a.pair[1])! - ids.get(b.pair[1])!);
    merges.push(...ways.map((way) => ({ ...way, score: scores[index]! })));
  }
  // the longer left part first, then the longer right part; equals keep their order
  merges.sort((a, b) => b.score - a.score || b.lengths[0] - a.lengths[0] || b.lengths[1] - a.lengths[1]);
  return merges.map(({ pair }) => pair);
}

/** A token cut between each two characters. */
function cuts(token: string, where: string): { readonly pair: readonly [string, string]; readonly lengths: readonly [number, number] }[] {
  if (token.length > 2 * MAX_TOKEN) throw tooLong(token, where);
  const characters = [...token];
  if (characters.length > MAX_TOKEN) throw tooLong(token, where);
  let at = 0;
  return characters.slice(1).map((_, index) => {
    at += characters[index]!.length;
    return { pair: [token.slice(0, at), token.slice(at)], lengths: [index + 1, characters.length - index - 1] };
  });
}

function tooLong(token: string, where: string): UserError {
  return new UserError("a GGUF's vocabulary has a token that is too long for merges to be derived from scores", {
    file: where,
    limit: `${MAX_TOKEN} characters`,
    token: `${token.slice(0, 40)}…`,
  });
}
