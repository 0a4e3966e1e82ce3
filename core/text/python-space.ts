/** The characters that Python's strip takes for white space, as a part of a regular expression's class. */
export const PYTHON_SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const START = new RegExp(`^[${PYTHON_SPACE}]+`);
const SPACE = new RegExp(`[${PYTHON_SPACE}]`);

/** Length of a text without the white space at its end, as Python's rstrip leaves it. */
export function strippedLength(text: string): number {
  let end = text.length;
  while (end > 0 && SPACE.test(text[end - 1]!)) end--;
  return end;
}

/** A text without white space at its ends, as Python's strip leaves it. */
export function pythonStrip(text: string): string {
  return text.slice(0, strippedLength(text)).replace(START, "");
}
