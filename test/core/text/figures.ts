/** The recorded tokenizers of test/reference, whose cases say what they change of one base. */

/** Fields in the place of the base's; `in_model` holds those of its model. */
export type Change = Readonly<Record<string, unknown>>;

/** The base with a change. */
export function applied(tokenizer: Change, { in_model, ...change }: Change): Change {
  const whole = { ...tokenizer, ...change };
  return { ...whole, model: { ...(whole["model"] as object), ...(in_model as object | undefined) } };
}

/** Ids by text: "1 2||3" are those of three texts. */
export function idLists(recorded: string): number[][] {
  return recorded.split("|").map((ids) => (ids === "" ? [] : ids.split(" ").map(Number)));
}
