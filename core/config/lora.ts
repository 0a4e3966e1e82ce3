import { z } from "zod";

/** The section `train.lora`. */

const rank = z.int().min(1);
const alpha = z.number().positive();
/** PEFT's `target_modules` */
const moduleRule = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

const fields = z.strictObject({
  rank: rank.default(16).meta({ unit: "rows", description: "The rank of each adapter." }),
  alpha: alpha.default(32).describe("An adapter's product is multiplied by alpha / rank."),
  dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .meta({ unit: "share of inputs", description: "What an adapter does not see of its layer's inputs in a step, drawn by `train.seed`." }),
  targets: moduleRule
    .default("all-linear")
    .describe(
      "Which linear layers get an adapter, by PEFT's rules: `all-linear` (all but the head), a list of the ends of their names, or a regular expression that matches whole names.",
    ),
  exclude: moduleRule.nullable().default(null).describe("Layers that get none, by the same rules."),
  rankPattern: z
    .record(z.string(), rank)
    .prefault({})
    .describe("Other ranks, by regular expressions that are anchored at a dot and at the end of a name."),
  alphaPattern: z.record(z.string(), alpha).prefault({}).describe("Other alphas, by the same expressions."),
  rsLora: z.boolean().default(false).describe("Rank-stabilized: alpha / √rank in place of alpha / rank."),
});

/** How adapters are made. */
export type LoraSettings = z.infer<typeof fields>;

/** Its schema; null: by the defaults. */
export const loraSection = fields.nullable().prefault(null).describe("How adapters are made, only with `lora`; null: by the defaults.");

/** Those of a run that trains adapters and says nothing of them. */
export const LORA_DEFAULTS: LoraSettings = fields.parse({});
