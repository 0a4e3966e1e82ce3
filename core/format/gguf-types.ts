/** The element types of a GGUF's tensors: GGML's numbers, names and blocks. */

/** A type that is read: elements of a row lie in blocks of `block` elements, which take `bytes` bytes each. */
export const GGUF_TYPES = {
  F32: { block: 1, bytes: 4 },
  F16: { block: 1, bytes: 2 },
  BF16: { block: 1, bytes: 2 },
  Q8_0: { block: 32, bytes: 34 },
  Q4_0: { block: 32, bytes: 18 },
  Q4_1: { block: 32, bytes: 20 },
} as const;
/** A type that is read, by its GGML name. */
export type GgufType = keyof typeof GGUF_TYPES;

/** GGML's names by their numbers; those without one were taken back. */
const NAMES: readonly string[] = (
  "F32,F16,Q4_0,Q4_1,Q4_2,Q4_3,Q5_0,Q5_1,Q8_0,Q8_1,Q2_K,Q3_K,Q4_K,Q5_K,Q6_K,Q8_K,IQ2_XXS,IQ2_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ2_S," +
  "IQ4_XS,I8,I16,I32,I64,F64,IQ1_M,BF16,Q4_0_4_4,Q4_0_4_8,Q4_0_8_8,TQ1_0,TQ2_0,IQ4_NL_4_4,IQ4_NL_4_8,IQ4_NL_8_8,MXFP4,NVFP4,Q1_0"
).split(",");

/** GGML's name of a type, or its number if GGML has no such type. */
export function ggmlName(type: number): string {
  return NAMES[type] ?? `number ${type}`;
}

/** Whether a type is read. */
export function isGgufType(name: string): name is GgufType {
  return Object.hasOwn(GGUF_TYPES, name);
}
