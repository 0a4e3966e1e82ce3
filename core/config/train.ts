import { z } from "zod";
import { ENGINE_NAMES } from "./engines.js";
import { count, name, place, section } from "./fields.js";
import { loraSection } from "./lora.js";

/** The most logical ranks that a run may have. */
export const MAX_SHARDS = 64;

/** The most machines that an attempt may be on. */
const MAX_HOSTS = 64;

/** Where the engine deepspeed may keep a part of its state. */
const OFFLOAD_DEVICES = ["none", "cpu", "nvme"] as const;

/** The section `train`. */
export const trainSection = section({
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
  evalEverySteps: count
    .nullable()
    .default(null)
    .meta({ unit: "steps", description: "The loss on the test rows is measured after so many steps; null: never during training." }),
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
});
