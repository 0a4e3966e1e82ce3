import { z } from "zod";
import { name, source } from "./fields.js";
import { readSource } from "./source-ref.js";

/** The description of a multiple-choice task: where its items are, and how each becomes contexts and continuations. */

/** A text with `{{field}}` in it: `{{choices.text}}` is a field of a field, `{{text|trim}}` a field after a filter. */
const template = z.string();

const metric = z.enum(["acc", "acc_norm"]);

/** A step that cleans a text. */
const step = z.union([
  z.literal("trim"),
  z.strictObject({ find: z.string().min(1), with: z.string() }).describe("Every text `find` becomes `with`."),
  z
    .strictObject({ between: z.tuple([z.string().min(1), z.string().min(1)]), with: z.string() })
    .describe("What stands from the first text to the next one of the second, on one line, becomes `with`, and so do the two."),
]);

const answer = z.union([
  z
    .strictObject({ index: name, first: z.int().default(0) })
    .describe("The field with the right choice's number; `first` is that of the first choice."),
  z
    .strictObject({ label: name, labels: name })
    .describe("The field with the right choice's label, and the field with the labels of all choices."),
  z.strictObject({ text: name }).describe("The field with the right choice's text."),
]);

/** Names in an evaluation that no such task may have. */
const TAKEN = ["perplexity", "loss", "samples", "answers", "exactMatch", "rougeL"];

/** A multiple-choice task of a user's own, or one of the built-in ones: all have this form. */
export const choiceTask = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/, "must be of letters, digits, _ and -")
      .refine((own) => !TAKEN.includes(own), "is a name that the evaluation itself has: give the task another one")
      .describe("The name, with which the names of the task's figures begin."),
    source: source.describe("Where the items are: as `dataset.source`, with `?config=NAME&split=NAME` to choose some of a dataset."),
    context: template.optional().describe("What a model is given, with `{{field}}` where an item's field stands."),
    blank: z
      .strictObject({ field: name, mark: z.string().min(1) })
      .optional()
      .describe("In place of a context: the choices replace the mark in this field, and what follows it is scored (partial context)."),
    choices: z
      .union([template, z.array(template).min(2)])
      .describe("The texts to choose from: a list of texts with `{{field}}`, or `{{field}}` alone, which holds a list."),
    answer: answer.describe("Which of the choices is the right one."),
    delimiter: z.string().default(" ").describe("What stands between the context and a choice."),
    clean: z.array(step).default([]).describe("Steps that clean the context and each choice."),
    metrics: z
      .array(metric)
      .min(1)
      .default(["acc"])
      .describe("`acc`: the choice with the highest log-likelihood is the right one; `acc_norm`: after a division by its characters."),
  })
  .superRefine(({ context, blank, metrics, choices, source }, refinement) => {
    const issue = (path: string, message: string): void => refinement.addIssue({ code: "custom", path: [path], message });
    if ((context === undefined) === (blank === undefined)) issue("context", "needs either a context or a blank");
    if (blank !== undefined && metrics.includes("acc_norm"))
      issue("metrics", "acc_norm compares continuations, and a task with a blank has one continuation for all choices: leave it out");
    if (typeof choices === "string" && !/^\{\{[^{}|]+\}\}$/.test(choices))
      issue("choices", 'must be a list of texts, or "{{field}}" where the field holds a list');
    const read = readSource(source);
    if ("id" in read && read.choice?.split == null)
      issue("source", "needs ?split=NAME at its end: otherwise it would be the split to train on");
    if (new Set(metrics).size < metrics.length) issue("metrics", "must name each metric once");
  });

/** A multiple-choice task's description. */
export type ChoiceTask = z.infer<typeof choiceTask>;
/** A step that cleans a text. */
export type CleaningStep = z.infer<typeof step>;
