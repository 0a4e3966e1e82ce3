import { z } from "zod";
import { choiceTask, type ChoiceTask } from "./choice-task.js";
import { count, name, section, source } from "./fields.js";
import { nearest } from "./nearest.js";

/** The smallest temperature above 0, and the smallest repetition penalty: logits that are divided by less leave the range of fp32. */
export const LEAST_DIVISOR = 1e-6;

/** The tasks of Dolly's table, by lm-evaluation-harness's names. */
export const TASK_NAMES = ["openbookqa", "arc_easy", "arc_challenge", "winogrande", "hellaswag", "piqa", "boolq"] as const;
/** One of them. */
export type TaskName = (typeof TASK_NAMES)[number];

/** Whether a text is the name of a built-in task. */
export function isTaskName(text: string): text is TaskName {
  return (TASK_NAMES as readonly string[]).includes(text);
}

/** Whether an entry of `evaluate.tasks.names` names a file with a task's description. */
export function isTaskFile(entry: string | ChoiceTask): entry is string {
  return typeof entry === "string" && entry.startsWith("file://");
}

/** A built-in task by its name, or the file of a description. */
const taskEntry = z.string().superRefine((text, context) => {
  if (isTaskName(text) || isTaskFile(text)) return;
  const guess = nearest(text, TASK_NAMES);
  const hint = guess === null ? `known are ${TASK_NAMES.join(", ")}` : `did you mean ${guess}?`;
  context.addIssue({
    code: "custom",
    message: `is not a task; ${hint} A task of one's own is file:///task.json, or its description itself`,
  });
});

/** The name of a task that is in the list; null: it stands in a file that has not been read. */
const nameOf = (entry: string | ChoiceTask): string | null => (typeof entry !== "string" ? entry.name : isTaskFile(entry) ? null : entry);

const prompt = z.strictObject({
  instruction: z.string().min(1),
  input: z.string().min(1).nullable().default(null),
});

const generation = section({
  maxNewTokens: count.default(128).meta({ unit: "tokens", description: "An answer ends after so many tokens." }),
  temperature: z
    .number()
    .min(0)
    .refine((value) => value === 0 || value >= LEAST_DIVISOR, `must be 0, or at least ${LEAST_DIVISOR}`)
    .default(0)
    .describe("0: only the likeliest tokens; from 0.000001 on: each prompt is answered by tokens that are drawn as well."),
  topP: z.number().positive().max(1).default(1).describe("Drawn tokens are the likeliest ones that together have this probability."),
  topK: z.int().min(0).default(0).meta({ unit: "tokens", description: "Drawn tokens are among so many of the likeliest; 0: among all." }),
  repetitionPenalty: z.number().min(LEAST_DIVISOR).default(1).describe("What makes a token less likely that was there before; 1: nothing."),
  seed: z.int().min(0).default(42).describe("The seed that draws tokens."),
  tooLong: z
    .enum(["error", "cut"])
    .default("error")
    .describe("What happens to a prompt with more tokens than the model has positions; `cut`: its first tokens are left out."),
});

const tasks = z
  .strictObject({
    names: z
      .array(z.union([taskEntry, choiceTask]))
      .min(1)
      .default([...TASK_NAMES])
      .describe(
        "Which tasks; by default the seven of Dolly's table. One of one's own is `file:///task.json`, or its description itself ([evaluation.md](evaluation.md)).",
      ),
    limit: count.nullable().default(null).meta({ unit: "items", description: "So many items of each task, its first ones; null: all." }),
    data: z
      .record(z.string(), source)
      .prefault({})
      .describe("By task: where its items are, in place of the hub's dataset: `file:///path`, `hf://…` or `s3://…`."),
  })
  .superRefine(({ names, data }, context) => {
    const known = names.flatMap((entry) => nameOf(entry) ?? []);
    names.forEach((entry, index) => {
      const own = nameOf(entry);
      if (own === null) return;
      const issue = (message: string): void => context.addIssue({ code: "custom", path: ["names", index], message });
      if (known.indexOf(own) !== known.lastIndexOf(own)) issue(`each task must have a name of its own, and ${own} is there twice`);
      else if (typeof entry !== "string" && isTaskName(own)) issue(`${own} is the name of a built-in task: give this one another name`);
    });
    if (known.length < names.length) return;
    for (const own of Object.keys(data).filter((own) => !known.includes(own))) {
      const guess = nearest(own, known);
      const hint = guess === null ? `the tasks are ${known.join(", ")}` : `did you mean ${guess}?`;
      context.addIssue({ code: "custom", path: ["data", own], message: `is not among the tasks; ${hint}` });
    }
  })
  .nullable()
  .prefault(null)
  .describe("Multiple-choice tasks, scored as lm-evaluation-harness does; null: none.");

/** A rule of the gate: the tuned model's figure divided by the other model's is within bounds. */
const rule = z
  .strictObject({
    metric: name.describe("The name of a figure, such as `perplexity`, `perplexity.withInput`, `rougeL` or `hellaswag.acc_norm`."),
    against: z.enum(["base", "live"]).describe("The model to compare with; `live`: the one that `latest.json` names now."),
    atMost: z.number().min(0).optional().describe("The tuned model's figure is at most this times the other's."),
    atLeast: z.number().min(0).optional().describe("The tuned model's figure is at least this times the other's."),
    confident: z.boolean().default(false).describe("Whether the whole interval of the quotient must be within the bounds."),
  })
  .refine(({ atMost, atLeast }) => atMost !== undefined || atLeast !== undefined, "needs atMost, atLeast, or both")
  .refine(({ atMost = Infinity, atLeast = 0 }) => atLeast <= atMost, "can never hold: atLeast is above atMost");

/** The section `evaluate`. */
export const evaluateSection = section({
  generateSamples: z
    .int()
    .min(0)
    .default(5)
    .meta({ unit: "answers", description: "Answers that the base model and the tuned model each give to test rows." }),
  prompts: z.array(prompt).prefault([]).describe("Requests of one's own that both models answer: `{instruction, input}`."),
  references: z
    .int()
    .min(0)
    .default(0)
    .meta({ unit: "rows", description: "Test rows whose answers are compared with the expected ones, by exact match and ROUGE-L." }),
  generation,
  tasks,
  live: z
    .strictObject({
      uri: name.describe("Its address, or its name where it lies at the target on this machine."),
      manifest: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .describe("The SHA-256 of its manifest."),
    })
    .nullable()
    .prefault(null)
    .describe(
      "The published model that rules call `live`, with its manifest's SHA-256; null: the one that `latest.json` names when the evaluation starts.",
    ),
  gate: section({
    maxPerplexityRatio: z
      .number()
      .positive()
      .default(1)
      .describe("`latest.json` moves only if the tuned perplexity is at most this times the base's."),
    rules: z.array(rule).prefault([]).describe("Further conditions on figures, all of which must hold."),
    overrideWithinHours: z
      .number()
      .min(0)
      .max(8760)
      .default(0)
      .meta({ unit: "hours", description: "How long a run whose gate failed waits for a person to override it before it ends." }),
  }),
});

/** What `evaluate` says of a run. */
export type EvaluateSettings = z.infer<typeof evaluateSection>;
