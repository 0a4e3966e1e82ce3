import type { ChoiceTask, CleaningStep } from "../config/choice-task.js";
import { UserError } from "../errors.js";
import { pythonStrip } from "../text/python-space.js";
import { columnsIn, render, valueAt, type Fields } from "./field-template.js";

/** One question of a multiple-choice task. */
export interface ChoiceItem {
  /** for each choice what a model is given, and the text after it that is scored */
  readonly pairs: readonly { readonly context: string; readonly continuation: string }[];
  /** characters of each choice, as Python counts them */
  readonly lengths: readonly number[];
  /** index of the right choice */
  readonly answer: number;
}

/** Names of the columns that a task reads. */
export function columnsOfTask({ context, blank, choices, answer }: ChoiceTask): string[] {
  const templates = [...(context === undefined ? [] : [context]), ...(typeof choices === "string" ? [choices] : choices)];
  return columnsIn(templates, [
    ...(blank === undefined ? [] : [blank.field]),
    ...Object.values(answer).filter((path) => typeof path === "string"),
  ]);
}

/** An item of a task from its fields. Throws UserError that says what the item lacks. */
export function itemOf(task: ChoiceTask, fields: Fields): ChoiceItem {
  const clean = (text: string): string => task.clean.reduce(cleaned, text);
  const raw = choicesOf(task.choices, fields);
  if (raw.length < 2) throw new UserError("an item needs two choices or more", { got: raw.length });
  const empty = raw.indexOf("");
  if (empty >= 0) throw new UserError("a choice is empty", { choice: empty + 1, of: raw.length });
  const choices = raw.map(clean);
  const answer = answerOf(task.answer, choices, fields);
  const lengths = choices.map((choice) => [...choice].length);
  const { context, blank, delimiter } = task;
  if (blank === undefined) {
    const given = clean(render(context!, fields));
    return { pairs: choices.map((choice) => ({ context: given, continuation: delimiter + choice })), lengths, answer };
  }
  const sentence = render(`{{${blank.field}}}`, fields);
  const at = sentence.indexOf(blank.mark);
  if (at < 0) throw new UserError("the field lacks the mark that the choices replace", { field: blank.field, mark: blank.mark });
  const rest = pythonStrip(sentence.slice(at + blank.mark.length));
  const pairs = choices.map((choice) => ({ context: sentence.slice(0, at) + choice, continuation: delimiter + rest }));
  return { pairs, lengths, answer };
}

function choicesOf(choices: ChoiceTask["choices"], fields: Fields): string[] {
  if (typeof choices !== "string") return choices.map((choice) => render(choice, fields));
  return textsAt(choices.slice(2, -2).trim(), fields);
}

function textsAt(path: string, fields: Fields): string[] {
  const value = valueAt(fields, path);
  const texts = Array.isArray(value) ? (value as readonly unknown[]) : null;
  if (texts === null || texts.some((text) => typeof text !== "string" && typeof text !== "number"))
    throw new UserError("a field must be a list of texts", { field: path, got: JSON.stringify(value) });
  return texts.map(String);
}

function answerOf(answer: ChoiceTask["answer"], choices: readonly string[], fields: Fields): number {
  if ("index" in answer) {
    const value = valueAt(fields, answer.index);
    const number =
      typeof value === "boolean" ? Number(value) : typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
    const at = typeof number === "number" ? number - answer.first : Number.NaN;
    if (Number.isInteger(at) && at >= 0 && at < choices.length) return at;
    throw noAnswer(answer.index, `a number from ${answer.first} to ${answer.first + choices.length - 1}`, value);
  }
  if ("text" in answer) return place(answer.text, fields, choices);
  const labels = textsAt(answer.labels, fields);
  if (labels.length !== choices.length)
    throw new UserError("an item needs a label for each choice", { field: answer.labels, choices: choices.length, labels: labels.length });
  return place(answer.label, fields, labels);
}

/** Where the value of a field stands in a list. */
function place(path: string, fields: Fields, among: readonly string[]): number {
  const value = valueAt(fields, path);
  const text = typeof value === "string" || typeof value === "number" ? String(value) : null;
  const at = text === null ? -1 : ([text, pythonStrip(text)].map((each) => among.indexOf(each)).find((found) => found >= 0) ?? -1);
  if (at >= 0) return at;
  throw noAnswer(path, `one of ${among.map((each) => JSON.stringify(each)).join(", ")}`, value);
}

function noAnswer(field: string, expected: string, value: unknown): UserError {
  return new UserError("the item has no right answer", { field, expected, got: JSON.stringify(value) ?? "nothing" });
}

function cleaned(text: string, step: CleaningStep): string {
  if (step === "trim") return pythonStrip(text);
  if ("find" in step) return text.replaceAll(step.find, () => step.with);
  const [first, last] = step.between;
  let result = "";
  let rest = text;
  for (;;) {
    const start = rest.indexOf(first);
    if (start < 0) return result + rest;
    const end = rest.indexOf(last, start + first.length);
    const line = rest.indexOf("\n", start);
    // what is not closed on its line stays
    if (end < 0 || (line >= 0 && line < end)) {
      result += rest.slice(0, start + 1);
      rest = rest.slice(start + 1);
      continue;
    }
    result += rest.slice(0, start) + step.with;
    rest = rest.slice(end + last.length);
  }
}
