import { UserError } from "../../errors.js";
import type { GgufFields } from "../../format/gguf-fields.js";

/** How a GGUF says that a model's rotation is scaled: by values, or by a tensor of a factor for each frequency, as Llama 3 has it. */

/** What is the same in every model of Llama 3.1 and later; only the factor differs. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
/** Factors are fp32, computed in fp32. */
const TOLERANCE = 1e-5;

interface Rotation {
  readonly theta: number;
  /** elements of a head */
  readonly width: number;
}

/** `rope_scaling` for config.json; null: none. `factors`: the values of rope_freqs.weight if there are any. Throws UserError. */
export function ropeScaling(
  fields: GgufFields,
  prefix: string,
  rotation: Rotation,
  factors: Float32Array | null,
): Readonly<Record<string, unknown>> | null {
  const linear = linearFactor(fields, prefix);
  if (factors === null || factors.every((factor) => factor === 1)) return linear === 1 ? null : { rope_type: "linear", factor: linear };
  if (linear !== 1)
    throw new UserError("a GGUF scales its rotation in two ways, by values and by rope_freqs.weight, which is not read", {
      file: fields.where,
    });
  return llama3(fields, prefix, rotation, factors);
}

function linearFactor(fields: GgufFields, prefix: string): number {
  const key = `${prefix}rope.scaling.type`;
  const type = fields.text(key, "linear");
  if (type === "none") return 1;
  if (type !== "linear") throw fields.wrong(key, "none or linear");
  // the second is the first one's name in old files
  const name = ["rope.scaling.factor", "rope.scale_linear"].map((each) => prefix + each).find((each) => fields.has(each));
  return name === undefined || fields.isZero(name) ? 1 : fields.positive(name);
}

function llama3(fields: GgufFields, prefix: string, { theta, width }: Rotation, factors: Float32Array): Readonly<Record<string, unknown>> {
  // the longest wave is slowed down by the whole factor
  const factor = factors.at(-1)!;
  const original_max_position_embeddings = fields.count(
    `${prefix}rope.scaling.original_context_length`,
    LLAMA3.original_max_position_embeddings,
  );
  const scaling = { rope_type: "llama3", factor, ...LLAMA3, original_max_position_embeddings };
  for (const [index, got] of factors.entries()) {
    const expected = llama3Factor(theta ** ((2 * index) / width), scaling);
    // a factor that is not a number is not near anything
    if (!(Math.abs(got - expected) <= TOLERANCE * expected))
      throw new UserError("the tensor rope_freqs.weight of a GGUF is not the scaling of Llama 3, the only one that is read", {
        file: fields.where,
        index,
        expected,
        got,
        ...scaling,
      });
  }
  return scaling;
}

/** By how much a frequency is divided, whose wave has `wave` times 2 pi positions. */
function llama3Factor(
  wave: number,
  { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original }: typeof LLAMA3 & { factor: number },
): number {
  const waves = original / (2 * Math.PI * wave);
  if (waves > high) return 1;
  if (waves < low) return factor;
  const smooth = (waves - low) / (high - low);
  return 1 / ((1 - smooth) / factor + smooth);
}
