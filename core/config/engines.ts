/**
 * The training engines, and the version of what each computes: it is raised whenever the same step would give other bits.
 * It lies here because the schema of settings and the train stage's key need it, and neither may load an engine.
 */
export const ENGINE_VERSIONS = {
  onnx: "1",
  // with the locked versions of what decides its bits
  deepspeed: "1, torch 2.15.0, deepspeed 0.19.8, transformers 5.24.0",
} as const;

/** What `train.engine` may say. */
export type EngineName = keyof typeof ENGINE_VERSIONS;
/** The names as a list, for the schema. */
export const ENGINE_NAMES = Object.keys(ENGINE_VERSIONS) as [EngineName, ...EngineName[]];
