import { z } from "zod";
import { ConfigError } from "../errors.js";
import { evaluateSection } from "./evaluate.js";
import { count, name, section, source } from "./fields.js";
import { hubTargetId } from "./hub-target.js";
import { nearest } from "./nearest.js";
import { LORA_DEFAULTS, type LoraSettings } from "./lora.js";
import { publishSection } from "./publish.js";
import { contradiction, readSource, withoutSlashes } from "./source-ref.js";
import { templateProblem } from "./template-problem.js";
import { trainSection } from "./train.js";

/** What `dataset.format` may say. */
export const ROW_FORMATS = ["alpaca", "dolly-15k", "sharegpt", "messages", "tokens"] as const;

/** null: the usual name */
const column = name.nullable().default(null);

/** A Jinja template; what only its compilation shows is said before a run's work starts. */
const template = z
  .string()
  .min(1)
  .superRefine((text, context) => {
    const message = templateProblem(text);
    if (message !== null) context.addIssue({ code: "custom", message });
  });

const schema = z
  .strictObject({
    model: section({
      source: source
        .refine(
          (text) => !("choice" in readSource(text)),
          "is a model's, and has no ?config= and no ?split=: these choose rows of a dataset",
        )
        .default("hf://EleutherAI/gpt-j-6b@float16")
        .describe("The base model: `hf://owner/name@revision`, `file:///directory` or `s3://bucket/prefix`, or a GGUF file there."),
    }),
    dataset: section({
      source: source
        .default("hf://tatsu-lab/alpaca@main")
        .describe("The rows: `hf://owner/name@revision`, `file:///path` or `s3://bucket/prefix`, and perhaps `?config=NAME&split=NAME`."),
      config: name
        .nullable()
        .default(null)
        .describe("Which of the dataset's configurations is taken; null: the default one, or the only one."),
      split: name.nullable().default(null).describe("Which split is trained on; null: `train`, or the only one."),
      format: z.enum(ROW_FORMATS).nullable().default(null).describe("What the columns mean; null: what their names say."),
      columns: section({
        instruction: column.describe("The column with what is asked."),
        input: column.describe("The column with the text that the instruction is about."),
        output: column.describe("The column with the answer."),
        system: column.describe("The column with the system message."),
        history: column.describe("The column with earlier turns."),
        messages: column.describe("The column with whole conversations."),
      }),
    }).superRefine((dataset, context) => {
      const key = contradiction(dataset);
      if (key === null) return;
      context.addIssue({
        code: "custom",
        path: [key],
        message: `contradicts the end of dataset.source, ${dataset.source}: keep one of them`,
      });
    }),
    preprocess: section({
      prompt: z
        .union(
          [z.enum(["dolly", "alpaca", "chat"]), z.strictObject({ template })],
          'must be "dolly", "alpaca", "chat" or {"template": "…"}',
        )
        .default("dolly")
        .describe(
          "The text that is put around a row's fields; `chat`: the model's own chat template; `{template}`: a Jinja template of one's own.",
        ),
      maxLength: count.default(1024).meta({ unit: "tokens", description: "The longest row; longer rows are cut." }),
      testRows: z
        .int()
        .min(0)
        .default(1000)
        .meta({ unit: "rows", description: "Rows that are drawn by the seed, kept out of training, and used for the perplexity." }),
      maxRejectShare: z
        .number()
        .min(0)
        .max(1)
        .default(0.05)
        .meta({ unit: "share of rows", description: "The stage fails if more rows than this share are rejected." }),
      seed: z.int().min(0).default(42).describe("The seed that draws the test rows."),
    }),
    train: trainSection,
    evaluate: evaluateSection,
    publish: publishSection,
  })
  .refine((config) => config.publish?.kmsKeyId == null || config.publish.encryption === "aws:kms", {
    path: ["publish", "kmsKeyId"],
    message: 'a key is used with publish.encryption "aws:kms" only',
    // even when there are other problems, so that all are named
    when: () => true,
  })
  .superRefine(({ dataset: { format, columns } }, context) => {
    const named = Object.entries(columns).flatMap(([role, name]) => (name === null ? [] : [role]));
    const twice = Object.values(columns).find((name, at, all) => name !== null && all.indexOf(name) < at);
    if (twice != null)
      context.addIssue({ code: "custom", path: ["dataset", "columns"], message: `must name each column once, got ${twice} twice` });
    const allowed = format === null ? null : ROLES_OF[format];
    const others = named.filter((role) => allowed !== null && !allowed.includes(role));
    if (others.length > 0)
      context.addIssue({
        code: "custom",
        path: ["dataset", "columns"],
        message: `rows of the format ${format} have no ${others.join(" and no ")}`,
      });
    const request = named.filter((role) => !CONVERSATION.includes(role));
    if (named.includes("messages") && request.length > 0)
      context.addIssue({
        code: "custom",
        path: ["dataset", "columns"],
        message: `messages are whole conversations: leave out ${request.join(" and ")}, or messages`,
      });
  })
  .refine(({ train }) => train?.engine === "deepspeed" || (train?.precision ?? "fp32") === "fp32", {
    path: ["train", "precision"],
    message: 'the engine onnx computes in fp32; bf16 and fp16 need train.engine "deepspeed"',
    when: () => true,
  })
  .refine((config) => !((config.train?.workers?.hosts ?? 1) > 1) || config.train.engine === "deepspeed", {
    path: ["train", "workers", "hosts"],
    message: 'the engine onnx trains on one machine: several need train.engine "deepspeed"',
    when: () => true,
  })
  .refine(
    ({ train, publish }) =>
      !((train?.workers?.hosts ?? 1) > 1) || train.workers.store !== null || hubTargetId(publish?.target ?? "") === null,
    {
      path: ["train", "workers", "store"],
      message:
        "must name s3://bucket/prefix or file:///path, because machines cannot share what training saves on the hub of publish.target",
      when: () => true,
    },
  )
  .refine(({ train }) => train?.lora == null || train.method === "lora", {
    path: ["train", "lora"],
    message: 'is about adapters, and needs train.method "lora"',
    when: () => true,
  })
  .refine(({ train }) => train?.engine === "deepspeed" || (train?.offload?.optimizer !== "cpu" && train?.offload?.parameters !== "cpu"), {
    path: ["train", "offload"],
    message: 'the engine onnx keeps all in the memory of the CPU anyway: take "nvme", or train.engine "deepspeed"',
    when: () => true,
  })
  .prefault({});

const INSTRUCTION = ["instruction", "input", "output", "system", "history"];
const CONVERSATION = ["messages", "system"];

/** The columns that rows of a format have. */
const ROLES_OF: Readonly<Record<(typeof ROW_FORMATS)[number], readonly string[]>> = {
  alpaca: INSTRUCTION,
  "dolly-15k": INSTRUCTION,
  sharegpt: CONVERSATION,
  messages: CONVERSATION,
  tokens: [],
};

/** The JSON Schema of what a run may be given, with each field's default, description and unit. */
export function runConfigSchema(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(schema, { io: "input" });
}

/** What a run is asked for: everything that its result depends on, and how it is carried out. Defaults are Dolly's. */
export type RunConfig = z.infer<typeof schema>;

/** How a run's adapters are made; null: it trains every weight. */
export function loraOf({ method, lora }: Pick<RunConfig["train"], "method" | "lora">): LoraSettings | null {
  return method === "lora" ? (lora ?? LORA_DEFAULTS) : null;
}

/** Parses user input (undefined and null mean: all defaults). Throws ConfigError with every problem named. */
export function parseRunConfig(input: unknown): RunConfig {
  const result = schema.safeParse(input ?? {});
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.flatMap((issue) => describe(issue, input)));
}

/** A config that names its target, because the keys of its stages contain it; `defaultTarget` is asked if the config names none. */
export function withTarget(config: RunConfig, defaultTarget: () => string): RunConfig {
  const target = config.publish.target ?? withoutSlashes(defaultTarget());
  return { ...config, publish: { ...config.publish, target } };
}

/** A config that names the store of training if its workers may be on several machines; it names its target already. */
export function withStore(config: RunConfig): RunConfig {
  const { workers } = config.train;
  if (workers.hosts === 1 || workers.store !== null) return config;
  return { ...config, train: { ...config.train, workers: { ...workers, store: `${config.publish.target}/.roslin/train` } } };
}

/** Whether the machines that train a planned run share its inputs, its commit log and its checkpoints in a store. */
export function isShared({ train }: RunConfig): boolean {
  // one that an earlier version planned says nothing of it
  return train.workers.store != null;
}

function describe(issue: z.core.$ZodIssue, input: unknown): string[] {
  const path = issue.path.join(".");
  if (issue.code === "invalid_union" && issue.message === "Invalid input") {
    // of several forms the one that was meant has the least wrong with it, and is not another kind of value
    const forms = issue.errors.filter((issues) => !issues.some((each) => each.code === "invalid_type" && each.path.length === 0));
    const [meant] = forms.sort((a, b) => a.length - b.length);
    if (meant !== undefined) return meant.flatMap((each) => describe({ ...each, path: [...issue.path, ...each.path] }, input));
  }
  if (issue.code === "unrecognized_keys") {
    const known = knownFields(issue.path);
    return issue.keys.map((key) => {
      const guess = nearest(key, known);
      const hint = guess === null ? `known here: ${known.join(", ")}` : `did you mean ${[...issue.path, guess].join(".")}?`;
      return `unknown field ${[...issue.path, key].join(".")}; ${hint}`;
    });
  }
  const got = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input);
  // there somebody may have put a key where its place belongs
  const shown = /^publish\.sign(\.|$)/.test(path) ? "something that is not repeated here" : JSON.stringify(got);
  return [`${path === "" ? "the input" : path}: ${issue.message}, got ${shown}`];
}

/** The field names that exist below a path of the config, in any of the forms that a value may have. */
function knownFields(path: readonly PropertyKey[]): string[] {
  const formsOf = (form: z.core.JSONSchema.BaseSchema): z.core.JSONSchema.BaseSchema[] => [form, ...(form.anyOf ?? []).flatMap(formsOf)];
  const below = (form: z.core.JSONSchema.BaseSchema, key: PropertyKey): unknown =>
    typeof key === "number" ? form.items : form.properties?.[String(key)];
  let forms = formsOf(runConfigSchema());
  for (const key of path)
    forms = forms.flatMap((form) => {
      const found = below(form, key);
      return typeof found === "object" && found !== null && !Array.isArray(found) ? formsOf(found as z.core.JSONSchema.BaseSchema) : [];
    });
  return [...new Set(forms.flatMap((form) => Object.keys(form.properties ?? {})))];
}
