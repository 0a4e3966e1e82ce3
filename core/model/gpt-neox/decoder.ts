import { decoderGraph } from "../common/decoder.js";
import type { ModelFamily } from "../family.js";
import { block, norm } from "./block.js";
import { tables, type GptNeoxShape } from "./config.js";

/** See `ModelFamily.decoder`. */
export const gptNeoxDecoder: ModelFamily<GptNeoxShape>["decoder"] = (shape, parameters, bytes, form) =>
  decoderGraph(
    {
      name: "gpt-neox.decoder",
      heads: shape.heads,
      keyValueHeads: shape.heads,
      headWidth: shape.headWidth,
      tables: tables(shape),
      rotate: (g, x_TD, cos_TR, sin_TR, heads) => g.rotary(x_TD, cos_TR, sin_TR, heads, shape.rotaryDim, true),
      block: (g, x_TD, weights, attention) => block(g, shape, x_TD, weights, attention),
      norm: (g, x_MD, weights) => norm(g, shape, x_MD, weights, ""),
    },
    parameters,
    bytes,
    form,
  );
