import { layoutFile } from "../core/format/safetensors.js";
import { elements } from "../core/graph/tensor.js";
import { MADE_FAMILY, modelOf } from "../core/model/families.js";
import { allParameters, type ModelSize, type ParameterSpec } from "../core/model/family.js";

/** Small enough to be trained while one looks on, with the vocabulary of the family's large model. */
const SIZE: ModelSize = {
  layers: 2,
  heads: 4,
  width: 128,
  rotary: 32,
  vocabulary: 50400,
  positions: 512,
  bosTokenId: 50256,
  eosTokenId: 50256,
};

/** The demo's model, whose config.json is `configJson`. */
export const DEMO_MODEL = modelOf(MADE_FAMILY.configJson(SIZE), "the demo's config");

/** Standard deviations of the noise. */
const EMBEDDING_DEVIATION = 0.1;
const DEVIATION = 0.05;
/** What the identity is multiplied by where a layer begins by passing on what it gets. */
const PASS_ON = 1.5;

/**
 * model.safetensors, fp32, the same bytes everywhere: integer arithmetic and exact steps only. Attention begins by passing
 * on what it looks at (values and output are a multiple of the identity, plus noise), and the head begins as the embedding. So
 * repeating a word of the question, which takes long to learn from noise alone, is learned in a minute.
 */
export function demoWeights(): Buffer {
  const specs = allParameters(DEMO_MODEL.parameters);
  const { header, entries, fileBytes } = layoutFile(specs.map(({ name, shape }) => ({ name, shape, dtype: "F32" })));
  const offsets = new Map(entries.map(({ name, offset }) => [name, offset]));
  const file = Buffer.alloc(fileBytes);
  file.set(header);
  for (const spec of specs) {
    const values = initialValues(spec);
    const view = new DataView(file.buffer, file.byteOffset + offsets.get(spec.name)!, values.length * 4);
    for (let index = 0; index < values.length; index++) view.setFloat32(index * 4, values[index]!, true);
  }
  return file;
}

function initialValues({ name, shape, initial }: ParameterSpec): Float32Array {
  const { embedding, head } = DEMO_MODEL.parameters;
  const values = new Float32Array(elements(shape));
  if (initial === "zero") return values;
  if (initial === "one") return values.fill(1);
  if (name === embedding.name) return addNoise(values, name, EMBEDDING_DEVIATION);
  if (name === head[0]!.name) return addNoise(values, embedding.name, DEVIATION);
  if (initial === "identity") for (let index = 0; index < values.length; index += shape[1]! + 1) values[index] = PASS_ON;
  return addNoise(values, name, DEVIATION);
}

/** Mean and standard deviation of the sum of four uniform bytes. */
const MEAN = 4 * 127.5;
const SPREAD = 147.8;

/** Adds noise that is nearly normal, of a name and place alone. */
function addNoise(values: Float32Array, name: string, deviation: number): Float32Array {
  let seed = 0x811c9dc5;
  for (const char of name) seed = Math.imul(seed ^ char.charCodeAt(0), 0x01000193);
  const scale = deviation / SPREAD;
  for (let index = 0; index < values.length; index++) {
    let bits = Math.imul(index ^ seed, 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 15) ^ index, 0xc2b2ae35);
    bits = Math.imul(bits ^ (bits >>> 13), 0x2c1b3c6d);
    bits ^= bits >>> 16;
    const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
    values[index]! += (sum - MEAN) * scale;
  }
  return values;
}
