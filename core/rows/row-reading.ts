import { UserError } from "../errors.js";
import type { RunConfig } from "../config/schema.js";

/** Which columns mean what: several where one or the other has content. Plain data, which can go to a thread. */
export type RowReading =
  | { readonly kind: "tokens" }
  | {
      readonly kind: "instructions";
      readonly instruction: readonly string[];
      readonly input: readonly string[];
      readonly output: readonly string[];
      readonly system: readonly string[];
      readonly history: readonly string[];
    }
  | { readonly kind: "conversations"; readonly messages: readonly string[]; readonly system: readonly string[] };

/** What a run says of its columns. */
export type ColumnSettings = Pick<RunConfig["dataset"], "format" | "columns">;

/** The names of columns that are there, and of those that have content. */
export interface ColumnNames {
  readonly columns: readonly string[];
  readonly filled: readonly string[];
}

/** The columns that a reading looks at. */
export function readColumns(reading: RowReading): string[] {
  if (reading.kind === "tokens") return ["input_ids", "labels"];
  const { kind: _, ...roles } = reading;
  return Object.values(roles).flat();
}

/** Names of columns in a line; in quotes where they would not be seen, as pandas' index without a name. */
export function columnList(names: readonly string[]): string {
  return names.map((name) => (name.trim() === name && name !== "" && !name.includes(", ") ? name : JSON.stringify(name))).join(", ");
}

/** The columns that a run's settings name. */
export function namedColumns({ columns }: ColumnSettings): string[] {
  return Object.values(columns).filter((name) => name !== null);
}

/**
 * What the columns mean, by the settings and by their names; null: they are of no format that has names. Throws UserError if two
 * formats fit, or if a column that the settings name is not there.
 */
export function chooseReading(names: ColumnNames, settings: ColumnSettings): RowReading | null {
  const { format, columns: named } = settings;
  const here = new Set([...names.columns, ...names.filled]);
  const has = (...wanted: readonly string[]): boolean => wanted.some((name) => here.has(name));
  // a column that the settings name for one thing means nothing else
  const taken = new Set(namedColumns(settings));
  const role = (name: string | null, usual: readonly string[]): readonly string[] =>
    name === null ? usual.filter((each) => !taken.has(each)) : [name];
  const check = (needed: readonly (readonly string[])[]): void => {
    const missing = needed.find((some) => !has(...some));
    if (missing !== undefined)
      throw new UserError("a column that the settings name is not in the dataset: correct dataset.format or dataset.columns", {
        expected: missing.join(" or "),
        got: columnList(names.columns.slice(0, 20)),
      });
  };
  const instructions = (input: readonly string[], output: readonly string[]): RowReading => ({
    kind: "instructions",
    instruction: role(named.instruction, ["instruction"]),
    input: role(named.input, input),
    output: role(named.output, output),
    system: role(named.system, ["system"]),
    history: role(named.history, ["history"]),
  });
  const conversations = (...usual: readonly string[]): RowReading => ({
    kind: "conversations",
    messages: role(named.messages, usual),
    system: role(named.system, ["system"]),
  });
  const checked = (reading: RowReading): RowReading => {
    if (reading.kind === "instructions") check([reading.instruction, reading.output]);
    else if (reading.kind === "conversations") check([reading.messages]);
    else check([["input_ids"], ["labels"]]);
    return reading;
  };

  if (format === "tokens") return checked({ kind: "tokens" });
  if (format === "alpaca") return checked(instructions(["input"], ["output"]));
  if (format === "dolly-15k") return checked(instructions(["context"], ["response"]));
  if (format === "sharegpt") return checked(conversations("conversations"));
  if (format === "messages") return checked(conversations("messages"));

  const mixed = instructions(["input", "context"], ["output", "response"]);
  if (named.messages !== null) return checked(conversations());
  if (named.instruction !== null || named.output !== null) return checked(mixed);
  if (has("input_ids") && has("labels")) return { kind: "tokens" };
  const fits = [
    ...(has("instruction") && has("output", "response") ? [{ name: "instruction", reading: mixed }] : []),
    ...["messages", "conversations"].filter((name) => has(name)).map((name) => ({ name, reading: conversations(name) })),
  ];
  const withContent = fits.filter(({ name }) => names.filled.includes(name));
  if (withContent.length > 1)
    throw new UserError("a dataset has columns of two formats: choose one by dataset.format, or name the columns by dataset.columns", {
      columns: withContent.map(({ name }) => name).join(" and "),
      formats: "alpaca, dolly-15k, sharegpt, messages, tokens",
    });
  return (withContent[0] ?? fits[0])?.reading ?? null;
}
