import type { ChoiceTask } from "../config/choice-task.js";
import type { TaskName } from "../config/evaluate.js";

/**
 * The tasks of Dolly's table, with the datasets, the fields and the prompts that lm-evaluation-harness 0.4.13 has for them. They
 * have the form of a user's own description.
 */

const NORMALIZED: ChoiceTask["metrics"] = ["acc", "acc_norm"];

/** ARC and OpenBookQA: the texts and the labels of the choices lie in two lists. */
const lettered = {
  choices: "{{choices.text}}",
  answer: { label: "answerKey", labels: "choices.label" },
  delimiter: " ",
  clean: [],
  metrics: NORMALIZED,
} satisfies Partial<ChoiceTask>;

const arc = (name: string, config: string): ChoiceTask => ({
  ...lettered,
  name,
  source: `hf://allenai/ai2_arc?config=${config}&split=test`,
  context: "Question: {{question}}\nAnswer:",
});

/** Each by its name. */
export const BUILT_IN: Readonly<Record<TaskName, ChoiceTask>> = {
  openbookqa: {
    ...lettered,
    name: "openbookqa",
    source: "hf://allenai/openbookqa?config=main&split=test",
    context: "{{question_stem}}",
  },
  arc_easy: arc("arc_easy", "ARC-Easy"),
  arc_challenge: arc("arc_challenge", "ARC-Challenge"),
  winogrande: {
    name: "winogrande",
    source: "hf://allenai/winogrande?config=winogrande_xl&split=validation",
    blank: { field: "sentence", mark: "_" },
    choices: ["{{option1}}", "{{option2}}"],
    answer: { index: "answer", first: 1 },
    delimiter: " ",
    clean: [],
    metrics: ["acc"],
  },
  hellaswag: {
    name: "hellaswag",
    source: "hf://Rowan/hellaswag?split=validation",
    context: "{{activity_label}}: {{ctx_a}} {{ctx_b|capitalize}}",
    choices: "{{endings}}",
    answer: { index: "label", first: 0 },
    delimiter: " ",
    // the texts from WikiHow have marks such as [title] and [step] in them
    clean: ["trim", { find: " [title]", with: ". " }, { between: ["[", "]"], with: "" }, { find: "  ", with: " " }],
    metrics: NORMALIZED,
  },
  piqa: {
    name: "piqa",
    source: "hf://baber/piqa?split=validation",
    context: "Question: {{goal}}\nAnswer:",
    choices: ["{{sol1}}", "{{sol2}}"],
    answer: { index: "label", first: 0 },
    delimiter: " ",
    clean: [],
    metrics: NORMALIZED,
  },
  boolq: {
    name: "boolq",
    source: "hf://aps/super_glue?config=boolq&split=validation",
    context: "{{passage}}\nQuestion: {{question}}?\nAnswer:",
    choices: ["no", "yes"],
    answer: { index: "label", first: 0 },
    delimiter: " ",
    clean: [],
    metrics: ["acc"],
  },
};
