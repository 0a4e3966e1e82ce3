import { decoderGraph } from "../common/decoder.js";
import { rotaryTables } from "../common/rotary.js";
import type { ModelFamily } from "../family.js";
import { block } from "./block.js";
import type { LlamaShape } from "./config.js";

/** See `ModelFamily.decoder`. */
export const llamaDecoder: ModelFamily<LlamaShape>["decoder"] = (shape, parameters, bytes, form) =>
  decoderGraph(
    {
      name: "llama.decoder",
      heads: shape.heads,
      keyValueHeads: shape.keyValueHeads,
      headWidth: shape.headWidth,
      tables: rotaryTables(shape.positions, shape.frequencies),
      rotate: (g, x, cos_TR, sin_TR, heads) => g.rotary(x, cos_TR, sin_TR, heads, shape.headWidth, true),
      block: (g, x_TD, weights, attention) => block(g, shape, x_TD, weights, attention),
      norm: (g, x_MD, weights) => g.rmsNorm(x_MD, weights.get("weight"), shape.normEpsilon),
    },
    parameters,
    bytes,
    form,
  );
