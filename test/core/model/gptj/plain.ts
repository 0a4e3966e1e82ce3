import type { TokenRow } from "../../../../core/rows/token-rows.js";
import type { GptjShape } from "../../../../core/model/gptj/config.js";
import type { Weights } from "../../../engines/onnx/step/solo.js";

/** GPT-J's loss in float64, one row at a time, in loops without any cleverness: what the graphs must agree with on every shape. */

type Matrix = readonly Float64Array[];

/** Mean loss over the rows' labels. */
export function plainLoss(config: GptjShape, weights: Weights, rows: readonly TokenRow[]): number {
  const losses = rows.flatMap((row) => rowLosses(config, weights, row));
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

function rowLosses(config: GptjShape, weights: Weights, { inputIds, labels }: TokenRow): number[] {
  const weight = (name: string): Float32Array => weights.get(name)!;
  const wte = weight("transformer.wte.weight");
  let x: Matrix = Array.from(inputIds, (id) => Float64Array.from(wte.subarray(id * config.width, (id + 1) * config.width)));
  for (let layer = 0; layer < config.layers; layer++) x = block(config, (name) => weight(`transformer.h.${layer}.${name}`), x);
  const h = norm(x, weight("transformer.ln_f.weight"), weight("transformer.ln_f.bias"), config.normEpsilon);
  const logits = linear(h, weight("lm_head.weight"), weight("lm_head.bias"));
  return logits.slice(0, -1).flatMap((row, at) => {
    const label = labels[at + 1]!;
    return label === -100 ? [] : [-Math.log(softmax(row)[label]!)];
  });
}

function block(config: GptjShape, weight: (name: string) => Float32Array, x: Matrix): Matrix {
  const h = norm(x, weight("ln_1.weight"), weight("ln_1.bias"), config.normEpsilon);
  const project = (name: string): Matrix => linear(h, weight(`attn.${name}.weight`));
  const gathered = attention(config, rotate(config, project("q_proj")), rotate(config, project("k_proj")), project("v_proj"));
  const out = linear(gathered, weight("attn.out_proj.weight"));
  const inner = linear(h, weight("mlp.fc_in.weight"), weight("mlp.fc_in.bias")).map((row) => row.map(gelu));
  const mlp = linear(inner, weight("mlp.fc_out.weight"), weight("mlp.fc_out.bias"));
  return x.map((row, t) => row.map((value, d) => value + out[t]![d]! + mlp[t]![d]!));
}

function attention({ heads, headWidth }: GptjShape, q: Matrix, k: Matrix, v: Matrix): Matrix {
  return q.map((query, t) => {
    const result = new Float64Array(query.length);
    for (let head = 0; head < heads; head++) {
      const first = head * headWidth;
      const scores = Float64Array.from({ length: t + 1 }, (_, s) => {
        let score = 0;
        for (let d = first; d < first + headWidth; d++) score += query[d]! * k[s]![d]!;
        return score / Math.sqrt(headWidth);
      });
      softmax(scores).forEach((share, s) => {
        for (let d = first; d < first + headWidth; d++) result[d]! += share * v[s]![d]!;
      });
    }
    return result;
  });
}

function rotate({ heads, headWidth, rotaryDim }: GptjShape, x: Matrix): Matrix {
  return x.map((row, position) => {
    const turned = row.slice();
    for (let head = 0; head < heads; head++) {
      for (let pair = 0; pair < rotaryDim; pair += 2) {
        const angle = position / 10000 ** (pair / rotaryDim);
        const at = head * headWidth + pair;
        turned[at] = row[at]! * Math.cos(angle) - row[at + 1]! * Math.sin(angle);
        turned[at + 1] = row[at + 1]! * Math.cos(angle) + row[at]! * Math.sin(angle);
      }
    }
    return turned;
  });
}

function norm(x: Matrix, weight: Float32Array, bias: Float32Array, epsilon: number): Matrix {
  return x.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, d) => ((value - mean) / Math.sqrt(variance + epsilon)) * weight[d]! + bias[d]!);
  });
}

/** x[T,in] @ weight[out,in]ᵀ + bias. */
function linear(x: Matrix, weight: Float32Array, bias?: Float32Array): Matrix {
  const inner = x[0]!.length;
  return x.map((row) => {
    const y = new Float64Array(weight.length / inner);
    for (let out = 0; out < y.length; out++) {
      let sum = bias === undefined ? 0 : bias[out]!;
      for (let d = 0; d < inner; d++) sum += row[d]! * weight[out * inner + d]!;
      y[out] = sum;
    }
    return y;
  });
}

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

function softmax(values: Float64Array): Float64Array {
  const max = values.reduce((a, b) => Math.max(a, b));
  const exp = values.map((value) => Math.exp(value - max));
  const sum = exp.reduce((a, b) => a + b);
  return exp.map((value) => value / sum);
}
