import { z } from "zod";
import { ConfigError } from "../errors.js";
import { ENGINE_NAMES } from "../training/engines.js";
import { nearest } from "./nearest.js";

/** The most logical ranks that a run may have. */
export const MAX_SHARDS = 64;

const count = z.int().min(1);
const source = z.string().regex(/^(hf|file|s3):\/\/.+/, "must be hf://owner/name@revision, s3://bucket/prefix or file:///path");

/** Sections default to `{}` parsed, so that every field of the result is there. */
const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape).prefault({} as never);

const schema = z
  .strictObject({
    model: section({ source: source.default("hf://EleutherAI/gpt-j-6b@float16") }),
    dataset: section({ source: source.default("hf://tatsu-lab/alpaca@main") }),
    preprocess: section({
      prompt: z.enum(["dolly"]).default("dolly"),
      /** tokens; longer rows are cut */
      maxLength: count.default(1024),
      testRows: z.int().min(0).default(1000),
      maxRejectShare: z.number().min(0).max(1).default(0.05),
      seed: z.int().min(0).default(42),
    }),
    train: section({
      engine: z.enum(ENGINE_NAMES).default("onnx"),
      method: z.enum(["full"]).default("full"),
      shards: count.max(MAX_SHARDS).default(8),
      epochs: count.default(1),
      maxSteps: count.nullable().default(null),
      /** rows of one shard in one pass */
      microBatch: count.default(8),
      accumulation: count.default(1),
      learningRate: z.number().min(0).default(1e-5),
      schedule: z.enum(["constant", "linear", "cosine"]).default("constant"),
      warmupSteps: z.int().min(0).default(0),
      betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
      epsilon: z.number().positive().default(1e-8),
      weightDecay: z.number().min(0).default(0),
      maxGradNorm: z.number().positive().default(1),
      checkpointEverySteps: count.default(200),
      checkpointEveryMinutes: z.number().positive().default(10),
      keepCheckpoints: count.default(2),
      seed: z.int().min(0).default(42),
      workers: section({
        min: count.default(1),
        /** how long to wait for all workers before going on with `min` */
        waitSeconds: z.number().min(0).default(60),
      }),
    }),
    evaluate: section({
      generateSamples: z.int().min(0).default(5),
      gate: section({ maxPerplexityRatio: z.number().positive().default(1) }),
    }),
    publish: section({
      target: z
        .string()
        .regex(/^(s3:\/\/[^/]+|file:\/\/.+)/, "must be s3://bucket/prefix or file:///path")
        .nullable()
        .default(null),
      // how a bucket keeps what is published; null: as the bucket has it
      encryption: z.enum(["AES256", "aws:kms"]).nullable().default(null),
      /** a KMS key's id or ARN; null: the account's own for S3 */
      kmsKeyId: z.string().min(1).nullable().default(null),
      /** those that can be read at once: `latest.json` is, whenever it moves */
      storageClass: z.enum(["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]).nullable().default(null),
      tags: z
        .record(z.string().min(1).max(128), z.string().max(256))
        .refine((tags) => Object.keys(tags).length <= 10, "S3 takes 10 tags at most")
        // in one order, so that the same ones in another are no other wish
        .transform((tags) => Object.fromEntries(Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))))
        .default({}),
      /** the bucket's rule for everything below the target; all null: the bucket's rules are left alone */
      lifecycle: section({
        abortUploadsAfterDays: count.nullable().default(null),
        /** days after which a published model is gone, the one that `latest.json` names as well */
        expireAfterDays: count.nullable().default(null),
      }),
    }),
  })
  .refine((config) => config.publish?.kmsKeyId == null || config.publish.encryption === "aws:kms", {
    path: ["publish", "kmsKeyId"],
    message: 'a key is used with publish.encryption "aws:kms" only',
    // beside other problems too, so that all are named
    when: () => true,
  })
  .prefault({});

/** Everything a run's result depends on. Defaults are Dolly's. */
export type RunConfig = z.infer<typeof schema>;

/** Parses user input (undefined and null mean: all defaults). Throws ConfigError with every problem named. */
export function parseRunConfig(input: unknown): RunConfig {
  const result = schema.safeParse(input ?? {});
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.flatMap((issue) => describe(issue, input)));
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
