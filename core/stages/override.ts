import { z } from "zod";
import { UserError } from "../errors.js";

/** A person's decision that a gate that was not passed does not count. */

const request = z.strictObject({
  by: z.string().trim().min(1).max(100),
  reason: z.string().trim().min(1).max(1000),
});

/** Who asks for an override, and why. */
export type OverrideRequest = z.infer<typeof request>;

/** An override as manifest and card keep it. */
export interface Override extends OverrideRequest {
  /** ISO 8601, when the run was told */
  readonly at?: string | undefined;
}

/** As a manifest has it. */
export const overrideSchema: z.ZodType<Override> = z.object({ by: z.string(), reason: z.string(), at: z.string().optional() });

/** Reads a request to override; throws UserError that says what is wrong with it. */
export function parseOverride(input: unknown): OverrideRequest {
  const { data, error } = request.safeParse(input);
  if (data !== undefined) return data;
  const { path, message } = error.issues[0]!;
  throw new UserError(`an override needs a name and a reason, and ${path.join(".") || "the input"} is wrong: ${message}`, {
    expected: '{"by": "NAME", "reason": "TEXT"}, of at most 100 and 1000 characters',
    got: JSON.stringify(input)?.slice(0, 200),
  });
}

/** Whether two requests are one. */
export function isSameOverride(one: OverrideRequest, other: OverrideRequest): boolean {
  return one.by === other.by && one.reason === other.reason;
}

/** "overridden by NAME: REASON". */
export function overrideWords({ by, reason, at }: Override): string {
  return `overridden by ${by}${at === undefined ? "" : ` on ${at.slice(0, 10)}`}: ${reason}`;
}
