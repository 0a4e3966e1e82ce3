import { z } from "zod";
import { ConfigError } from "../errors.js";
import { ENGINE_NAMES } from "./engines.js";
import { nearest } from "./nearest.js";
import { LORA_DEFAULTS, loraSection, type LoraSettings } from "./lora.js";
import { contradiction, readSource, withoutSlashes } from "./source-ref.js";
import { templateProblem } from "./template-problem.js";

/** The most logical ranks that a run may have. */
export const MAX_SHARDS = 64;

/** The most machines that an attempt may be on. */
const MAX_HOSTS = 64;

/** What `dataset.format` may say. */
export const ROW_FORMATS = ["alpaca", "dolly-15k", "sharegpt", "messages", "tokens"] as const;

/** Where the engine deepspeed may keep a part of its state. */
const OFFLOAD_DEVICES = ["none", "cpu", "nvme"] as const;

const count = z.int().min(1);
const name = z.string().min(1);
/** null: the usual name */
const column = name.nullable().default(null);
/** Stays text: it travels through Temporal and decides stages' keys. */
const source = z
  .string()
  .superRefine((text, context) => {
    const read = readSource(text);
    if ("problem" in read) context.addIssue({ code: "custom", message: `must be ${read.expected}: ${read.problem}` });
  })
  // what a JSON Schema can say of it
  .meta({ pattern: "^(hf|file|s3)://.+" });

/** A place to write to, in one spelling, because publishing depends on it. */
const place = z
  .string()
  .regex(/^(s3:\/\/[^/]+|file:\/\/.+)/, "must be s3://bucket/prefix or file:///path")
  .transform(withoutSlashes);

/** A Jinja template; what only its compilation shows is said before a run's work starts. */
const template = z
  .string()
  .min(1)
  .superRefine((text, context) => {
    const message = templateProblem(text);
    if (message !== null) context.addIssue({ code: "custom", message });
  });

/** Sections default to `{}` parsed, so that every field of the result is there. */
const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape).prefault({} as never);

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
    train: section({
      engine: z.enum(ENGINE_NAMES).default("onnx").describe("What computes the training."),
      precision: z
        .enum(["fp32", "bf16", "fp16"])
        .default("fp32")
        .describe(
          "What the model is computed in; `bf16` and `fp16` only with the engine `deepspeed`. Weights and moments stay in fp32, and `fp16` scales the loss.",
        ),
      method: z
        .enum(["full", "lora"])
        .default("full")
        .describe("What is trained: `full` trains every weight; `lora` trains low-rank adapters beside a base that stays as it is."),
      lora: loraSection,
      shards: count
        .max(MAX_SHARDS)
        .default(8)
        .meta({ unit: "shards", description: "Logical ranks; the result depends on their number, not on the number of workers." }),
      epochs: count.default(1).meta({ unit: "epochs", description: "How often training goes through all rows." }),
      maxSteps: count
        .nullable()
        .default(null)
        .meta({ unit: "steps", description: "Training ends after so many steps; null: after the last epoch." }),
      microBatch: count.default(8).meta({ unit: "rows", description: "Rows of one shard in one pass." }),
      accumulation: count
        .default(1)
        .meta({ unit: "passes", description: "Passes of a step; a step has shards x microBatch x accumulation rows." }),
      learningRate: z.number().min(0).default(1e-5).describe("The learning rate after the warm-up."),
      schedule: z
        .enum(["constant", "linear", "cosine"])
        .default("constant")
        .describe("How the learning rate changes after the warm-up; `linear` and `cosine` fall to 0 at the last step."),
      warmupSteps: z.int().min(0).default(0).meta({ unit: "steps", description: "Steps in which the learning rate rises from 0." }),
      betas: z
        .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
        .default([0.9, 0.999])
        .describe("AdamW's decay of the first and the second moment."),
      epsilon: z.number().positive().default(1e-8).describe("AdamW's epsilon."),
      weightDecay: z.number().min(0).default(0).describe("AdamW's weight decay, on every tensor."),
      maxGradNorm: z.number().positive().default(1).describe("Gradients are scaled down to this norm."),
      checkpointEverySteps: count
        .default(200)
        .meta({ unit: "steps", description: "A checkpoint is due after so many steps, or earlier by `checkpointEveryMinutes`." }),
      checkpointEveryMinutes: z
        .number()
        .positive()
        .default(10)
        .meta({ unit: "minutes", description: "A checkpoint is due after so long, or earlier by `checkpointEverySteps`." }),
      keepCheckpoints: count.default(2).meta({ unit: "checkpoints", description: "How many of the latest checkpoints are kept." }),
      seed: z.int().min(0).default(42).describe("The seed of the order of rows."),
      offload: section({
        optimizer: z
          .enum(OFFLOAD_DEVICES)
          .default("none")
          .describe(
            "Where both moments, and with the engine `deepspeed` the fp32 weights, are kept; `none`: where they are computed with; the engine `onnx` has `none` and `nvme`.",
          ),
        parameters: z
          .enum(OFFLOAD_DEVICES)
          .default("none")
          .describe("Where the weights that are computed with are kept until they are needed; the engine `onnx` has `none` and `nvme`."),
        directory: name
          .nullable()
          .default(null)
          .describe("The absolute path of a directory on a fast local disk, only with `nvme`; null: training's own directory."),
      }).superRefine(({ optimizer, parameters, directory }, context) => {
        if (directory === null) return;
        const message = !directory.startsWith("/")
          ? "must be an absolute path"
          : optimizer !== "nvme" && parameters !== "nvme"
            ? 'is used with "nvme" only'
            : null;
        if (message !== null) context.addIssue({ code: "custom", path: ["directory"], message });
      }),
      workers: section({
        min: count.default(1).meta({ unit: "workers", description: "The fewest workers that training goes on with." }),
        waitSeconds: z
          .number()
          .min(0)
          .default(60)
          .meta({ unit: "seconds", description: "How long an attempt waits for missing workers before it starts without them." }),
        hosts: count.max(MAX_HOSTS).default(1).meta({
          unit: "machines",
          description: "The most machines that the workers of one attempt may be on; more than 1 only with the engine `deepspeed`.",
        }),
        store: place
          .nullable()
          .prefault(null)
          .describe(
            "Where machines share what training needs and saves: `s3://bucket/prefix`, or `file:///directory` on a disk that they share; null: `.roslin/train` below publish.target if `hosts` is above 1, and otherwise the machine's own disk.",
          ),
      }),
    }),
    evaluate: section({
      generateSamples: z
        .int()
        .min(0)
        .default(5)
        .meta({ unit: "answers", description: "Answers that the base model and the tuned model each give to test rows." }),
      gate: section({
        maxPerplexityRatio: z
          .number()
          .positive()
          .default(1)
          .describe("`latest.json` moves only if the tuned perplexity is at most this times the base's."),
      }),
    }),
    publish: section({
      target: place
        .nullable()
        .prefault(null)
        .describe(
          "Where the model is published: `s3://bucket/prefix` or `file:///directory`; null: the bucket that the environment names.",
        ),
      encryption: z
        .enum(["AES256", "aws:kms"])
        .nullable()
        .default(null)
        .describe("The server-side encryption of each object; null: the bucket's own."),
      kmsKeyId: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe("A KMS key's id or ARN, only with `aws:kms`; null: the account's own key for S3."),
      // only classes that can be read at once, because `latest.json` is read whenever it moves
      storageClass: z
        .enum(["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"])
        .nullable()
        .default(null)
        .describe("The storage class of each object; null: the bucket's own."),
      tags: z
        .record(z.string().min(1).max(128), z.string().max(256))
        .refine((tags) => Object.keys(tags).length <= 10, "S3 takes 10 tags at most")
        // sorted, so that the same tags in another order are the same setting
        .transform((tags) => Object.fromEntries(Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))))
        .prefault({})
        .describe("S3 tags of each object, at most 10."),
      merge: z
        .boolean()
        .default(false)
        .describe("Whether adapters are published merged into their base, as a whole model; false: as PEFT's adapter, without the base."),
      lifecycle: section({
        abortUploadsAfterDays: count
          .nullable()
          .default(null)
          .meta({ unit: "days", description: "S3 drops unfinished uploads below the target after so long; null: no such rule." }),
        expireAfterDays: count.nullable().default(null).meta({
          unit: "days",
          description: "S3 removes published models after so long, the one that `latest.json` names as well; null: no such rule.",
        }),
      }),
    }),
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
  if (issue.code === "unrecognized_keys") {
    const known = knownFields(issue.path.map(String));
    return issue.keys.map((key) => {
      const guess = nearest(key, known);
      const hint = guess === null ? `known here: ${known.join(", ")}` : `did you mean ${[...issue.path, guess].join(".")}?`;
      return `unknown field ${[...issue.path, key].join(".")}; ${hint}`;
    });
  }
  const got = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input);
  return [`${path === "" ? "the input" : path}: ${issue.message}, got ${JSON.stringify(got)}`];
}

/** The field names that exist below a path of the config. */
function knownFields(path: readonly string[]): string[] {
  const defaults: unknown = schema.parse({});
  const at = path.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], defaults);
  return Object.keys(at as object);
}
