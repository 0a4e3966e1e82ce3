import type { ConfigFields } from "../common/config-fields.js";
import { rotaryFrequencies } from "../common/rotary.js";

/** Angles of rotary positions, from either spelling of a config.json: transformers 5's `rope_parameters`, or `rope_theta` and `rope_scaling`. */

const DEFAULT_THETA = 10_000;
const KNOWN = [
  "rope_type",
  "type",
  "rope_theta",
  "partial_rotary_factor",
  "factor",
  "low_freq_factor",
  "high_freq_factor",
  "original_max_position_embeddings",
];
const f32 = Math.fround;

/** The angle by which each pair of a head of this width turns from one position to the next. Throws UserError for a scaling that is not known. */
export function ropeFrequencies(fields: ConfigFields, headWidth: number): number[] {
  const field = fields.get("rope_parameters") == null ? "rope_scaling" : "rope_parameters";
  if (field === "rope_parameters" && fields.get("rope_scaling") != null) fields.fail("rope_scaling", "absent beside rope_parameters");
  const rope = (fields.get(field) ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof rope !== "object" || Array.isArray(rope)) fields.fail(field, "a JSON object");
  const unknown = Object.keys(rope).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined) fields.fail(`${field}.${unknown}`, `of ${KNOWN.join(", ")}`, rope[unknown]);
  /** The one value of a key that may stand at the top, or under another name, as well. */
  const either = (key: string, name = key, other = fields.get(name)): unknown => {
    const value = rope[key];
    if (value != null && other != null && value !== other) fields.fail(name, `as ${field}.${key}, ${JSON.stringify(value)}`, other);
    return value ?? other;
  };
  const number = (key: string, above: number, value = rope[key]): number =>
    typeof value === "number" && value >= above ? value : fields.fail(`${field}.${key}`, `a number, not below ${above}`, value);
  if ((either("partial_rotary_factor") ?? 1) !== 1) fields.fail("partial_rotary_factor", "1", either("partial_rotary_factor"));
  const plain = rotaryFrequencies(headWidth, f32(number("rope_theta", 1, either("rope_theta") ?? DEFAULT_THETA)));
  const type = either("rope_type", "type", rope["type"]) ?? "default";
  if (type === "default") return plain;
  if (type !== "linear" && type !== "llama3") return fields.fail(`${field}.rope_type`, "default, linear or llama3", type);
  const factor = f32(number("factor", 1));
  const divided = plain.map((frequency) => f32(frequency / factor));
  if (type === "linear") return divided;
  // from Llama 3.1 on: slow turns are divided, fast ones stay, those between are mixed; rounded where torch rounds
  const context = number("original_max_position_embeddings", 1, either("original_max_position_embeddings"));
  const low = number("low_freq_factor", 0);
  const high = number("high_freq_factor", 0);
  if (high <= low) fields.fail(`${field}.high_freq_factor`, `above low_freq_factor ${low}`, high);
  return plain.map((frequency, pair) => {
    const length = f32(f32(1 / frequency) * f32(2 * Math.PI));
    if (length < f32(context / high)) return frequency;
    if (length > f32(context / low)) return divided[pair]!;
    const share = f32(f32(f32(f32(1 / length) * f32(context)) - f32(low)) / f32(high - low));
    return f32(f32(f32(f32(1 - share) * frequency) / factor) + f32(share * frequency));
  });
}
