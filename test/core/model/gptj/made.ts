import { after } from "node:test";
import { elements } from "../../../../core/graph/tensor.js";
import { modelOf } from "../../../../core/model/families.js";
import { allParameters, type Model } from "../../../../core/model/family.js";
import type { GptjShape } from "../../../../core/model/gptj/config.js";
import type { TokenRow } from "../../../../core/rows/token-rows.js";
import type { Sessions } from "../../../../engines/onnx/sessions.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import type { Weights } from "../../../engines/onnx/step/solo.js";

/** Models and rows that come from a seed, the same on every machine. */

/** Numbers from 0 up to 1, one a call. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** A made model with the sessions that train it, which are closed after the file's tests. */
export async function openModel(shape: object, seed: number): Promise<ReturnType<typeof madeModel> & { readonly sessions: Sessions }> {
  const made = madeModel(shape, generator(seed));
  const sessions = await openSessions(made.model.family.training(made.model.shape, made.model.parameters), createSession);
  after(() => Promise.all(Object.values(sessions).map((session) => session.close())));
  return { ...made, sessions };
}

/** A GPT-J of this shape with weights between -0.5 and 0.5. */
export function madeModel(
  shape: object,
  next: () => number,
): {
  readonly model: Model;
  readonly config: GptjShape;
  readonly weights: Weights;
} {
  const model = modelOf({ model_type: "gptj", vocab_size: 23, n_positions: 16, ...shape }, "made");
  const weightOf = (shape: readonly number[]): Float32Array => Float32Array.from({ length: elements(shape) }, () => next() - 0.5);
  const config = model.shape as GptjShape;
  return { model, config, weights: new Map(allParameters(model.parameters).map(({ name, shape }) => [name, weightOf(shape)])) };
}

/** A row of `length` tokens; the first `masked` of them carry no loss. */
export function madeRow(source: number, length: number, masked: number, vocabulary: number, next: () => number): TokenRow {
  const inputIds = Int32Array.from({ length }, () => Math.floor(next() * vocabulary));
  return { source, inputIds, labels: inputIds.map((id, at) => (at < masked ? -100 : id)) };
}
