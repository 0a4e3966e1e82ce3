import { z } from "zod";
import { count, section } from "./fields.js";
import { hubTargetProblem } from "./hub-target.js";
import { withoutSlashes } from "./source-ref.js";

/** A place to publish to, in one spelling, because publishing depends on it. */
const target = z
  .string()
  .regex(/^(s3:\/\/[^/]+|file:\/\/.+|hf:\/\/)/, "must be s3://bucket/prefix, file:///path or hf://owner/name")
  .transform(withoutSlashes)
  .superRefine((text, context) => {
    const message = text.startsWith("hf://") ? hubTargetProblem(text) : null;
    if (message !== null) context.addIssue({ code: "custom", message });
  });
import { signSection } from "./sign.js";

/** The section `publish`. */
export const publishSection = section({
  target: target
    .nullable()
    .prefault(null)
    .describe(
      "Where the model is published: `s3://bucket/prefix`, `file:///directory` or `hf://owner/name`; null: the bucket that the environment names.",
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
  sign: signSection,
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
});
