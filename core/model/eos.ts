/** Tokens that end an answer, as config.json and generation_config.json say them. */

/** Calls for an error that says what was expected. */
type Fail = (expected: string) => never;

/** The ids of an `eos_token_id`: a number, a list of numbers, or null when nothing ends an answer. `fail` hears of any other value. */
export function parseEosTokenIds(value: unknown, vocabulary: number, fail: Fail): readonly number[] {
  if (value === null) return [];
  const ids = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabulary;
  if (ids.length === 0 || !ids.every(isId)) return fail(`a token id, or a list of token ids, from 0 to ${vocabulary - 1}, or null`);
  return ids;
}
