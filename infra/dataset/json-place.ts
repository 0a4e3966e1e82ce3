/** Where a text stops being the beginning of JSON, in UTF-16 units; its length if only an end is missing. The parser does not always say. */
export function firstWrong(text: string): number {
  let [good, bad] = [0, text.length + 1];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (isBeginning(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
}

/** Whether JSON may begin so: the parser complains of the end, or of nothing. */
function isBeginning(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const { message } = error as Error;
    const at = /position (\d+)/.exec(message)?.[1];
    return /end of JSON input|Unterminated|No number after/.test(message) || Number(at ?? -1) >= text.length;
  }
}

/** What stands at a wrong place of nearly JSON, and what to do; null: nothing that is known. */
export function jsonProblem(text: string, at: number): string | null {
  const rest = text.slice(at);
  const before = text.slice(0, at).trimEnd();
  if (/^(\/\/|\/\*|#)/.test(rest)) return "JSON has no comments: remove them";
  if (/^\s*[}\]]/.test(rest) && before.endsWith(",")) return "a comma before the closing bracket: remove it";
  if (/^('|True\b|False\b|None\b)/.test(rest.replace(/^u'/, "'")))
    return "this is Python's notation: write it with json.dumps, not with str";
  return text.trim() === "" ? "nothing stands between a comma and the next one or the closing bracket: remove the comma" : null;
}
