import { z } from "zod";
import { readSource, withoutSlashes } from "./source-ref.js";

/** Kinds of fields that several sections have. */

/** One or more. */
export const count = z.int().min(1);

/** A name that is not empty. */
export const name = z.string().min(1);

/** Where something is read from. It stays text: it travels through Temporal and decides stages' keys. */
export const source = z
  .string()
  .superRefine((text, context) => {
    const read = readSource(text);
    if ("problem" in read) context.addIssue({ code: "custom", message: `must be ${read.expected}: ${read.problem}` });
  })
  // what a JSON Schema can say of it
  .meta({ pattern: "^(hf|file|s3)://.+" });

/** A place to write to, in one spelling, because publishing depends on it. */
export const place = z
  .string()
  .regex(/^(s3:\/\/[^/]+|file:\/\/.+)/, "must be s3://bucket/prefix or file:///path")
  .transform(withoutSlashes);

/** Sections default to `{}` parsed, so that every field of the result is there. */
export const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape).prefault({} as never);
