/** Ids that a tokenizer puts around a text by itself. */
export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** The ids that go before a text's: a text that begins with BOS itself gets no second one. */
export function idsBefore({ before }: Around, ids: ArrayLike<number>, bosId: number): readonly number[] {
  return ids[0] === bosId && before.at(-1) === bosId ? before.slice(0, -1) : before;
}
