/** A string, or one of the words that Python's json.dumps writes and JSON does not have. */
const STRING_OR_WORD = /"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/gs;

/** The first field that is NaN, Infinity or -Infinity in a row's text that would be JSON without them; null: it would not, or there is none. */
export function nonFiniteField(text: string): { readonly field: string; readonly word: string } | null {
  const mark = "\u0000word:";
  let word: string | null = null;
  const marked = text.replaceAll(STRING_OR_WORD, (found) => {
    if (found.startsWith('"')) return found;
    word ??= found;
    return JSON.stringify(mark + found);
  });
  if (word === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(marked);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const field = Object.entries(value).find(([, item]) => holds(item, mark));
  return field === undefined ? null : { field: field[0], word };
}

function holds(value: unknown, mark: string): boolean {
  // a deep value is searched without recursion
  const open = [value];
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    if (typeof item === "string" && item.startsWith(mark)) return true;
    if (typeof item === "object" && item !== null) open.push(...Object.values(item));
  }
  return false;
}
