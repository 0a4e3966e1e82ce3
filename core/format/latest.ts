import { z } from "zod";
import { CorruptError } from "../errors.js";
import { PUBLISHED_NAME } from "./manifest.js";

/** Name of the pointer under a target: it names the model that was published last. */
export const LATEST = "latest.json";

const schema = z.object({
  /** name of the published model: its directory under the target */
  name: z.string().regex(PUBLISHED_NAME),
  manifest: z.object({ uri: z.string().optional(), sha256: z.string() }),
  /** the model before it, null for the first; may be missing in a pointer that was written by hand */
  previous: z.string().nullable().optional(),
  /** all models that it ever named, the first one first: it never names one of them again */
  superseded: z.array(z.string()).optional(),
  /** stands for how the bucket was asked to keep it; absent: the bucket decided */
  kept: z.string().optional(),
});

/** What `latest.json` under a target says. */
export type Latest = z.infer<typeof schema>;

/** Reads a pointer; throws CorruptError that says where it is and what is wrong with it. */
export function parseLatest(text: string, where: string): Latest {
  const expected = '{"name": "…", "manifest": {"sha256": "…"}}';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CorruptError("latest.json is not JSON", { uri: where, expected, got: text.slice(0, 80) }, { cause: error });
  }
  const { data, error } = schema.safeParse(value);
  if (data !== undefined) return data;
  const field = error.issues[0]!.path.join(".") || undefined;
  throw new CorruptError("latest.json names no model in the form that is expected", {
    uri: where,
    field,
    expected,
    got: JSON.stringify(value).slice(0, 80),
  });
}
