import { decoderGraph } from "../common/decoder.js";
import type { ModelFamily } from "../family.js";
import { rotaryFrequencies, rotaryTables } from "../common/rotary.js";
import { block } from "./block.js";
import type { GptjShape } from "./config.js";

/** See `ModelFamily.decoder`. */
export const gptjDecoder: ModelFamily<GptjShape>["decoder"] = (shape, parameters, bytes, form) =>
  decoderGraph(
    {
      name: "gptj.decoder",
      heads: shape.heads,
      keyValueHeads: shape.heads,
      headWidth: shape.headWidth,
      tables: rotaryTables(shape.positions, rotaryFrequencies(shape.rotaryDim)),
      rotate: (g, x_TD, cos_TR, sin_TR, heads) => g.rotary(x_TD, cos_TR, sin_TR, heads, shape.rotaryDim),
      block: (g, x_TD, weights, attention) => block(g, shape, x_TD, weights, attention),
      norm: (g, x_MD, weights) => g.layerNorm(x_MD, weights.get("weight"), weights.get("bias"), shape.normEpsilon),
    },
    parameters,
    bytes,
    form,
  );
