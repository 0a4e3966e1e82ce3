import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { trainDefinition } from "../../../activities/train/index.js";
import { parseGptjConfig } from "../../../core/model/config.js";
import { modelPrograms } from "../../../core/model/graphs.js";
import { print } from "../../../core/onnx/print.js";
import { sha256 } from "../../../infra/files.js";

const config = parseGptjConfig({ model_type: "gptj", n_layer: 1, n_head: 2, n_embd: 8, vocab_size: 50, rotary_dim: 4 }, "test");

/** The block's backward as it was generated when the figures were checked: a change here is a change of every trained bit. */
const BLOCK_BACKWARD = `\
block.backward(x: float32[T,8], cos: float32[T,2], sin: float32[T,2], slots: int32[R,2,L], unpad: int32[T,2], valid: float32[R,1,L,1], causal: float32[L,L], choice: float32[L,1], ln_1.weight: float32[8], ln_1.bias: float32[8], attn.q_proj.weight: float32[8,8], attn.k_proj.weight: float32[8,8], attn.v_proj.weight: float32[8,8], attn.out_proj.weight: float32[8,8], mlp.fc_in.weight: float32[32,8], mlp.fc_in.bias: float32[32], mlp.fc_out.weight: float32[8,32], dy: float32[T,8])
  %0: float32[T,8], %1: float32[T,1], %2: float32[T,1] = LayerNorm(x, ln_1.weight, ln_1.bias) epsilon=0.00001
  %3: float32[T,8] = MatMul(%0, attn.q_proj.weight) transB=true alpha=1
  %4: float32[T,8] = MatMul(%0, attn.k_proj.weight) transB=true alpha=1
  %5: float32[T,8] = MatMul(%0, attn.v_proj.weight) transB=true alpha=1
  %6: float32[T,8] = Rotary(%3, cos, sin) heads=2 rotaryDim=4
  %7: float32[T,8] = Rotary(%4, cos, sin) heads=2 rotaryDim=4
  %8: float32[R,2,L,4] = PadRows(%6, slots, unpad, valid)
  %9: float32[R,2,L,4] = PadRows(%7, slots, unpad, valid)
  %10: float32[R,2,L,4] = PadRows(%5, slots, unpad, valid)
  %11: float32[R,2,L,4], %12: float32[R,2,L,L] = Attend(%8, %9, %10, causal, choice) alpha=0.5
  %13: float32[T,8] = UnpadRows(%11, slots, unpad, valid)
  %14: float32[T,32] = Linear(%0, mlp.fc_in.weight, mlp.fc_in.bias)
  %15: float32[T,32] = Gelu(%14)
  %16: float32[T,8] = MatMul(dy, attn.out_proj.weight) alpha=1
  %17: float32[8,8] = MatMul(dy, %13) transA=true alpha=1
  %18: float32[T,32] = MatMul(dy, mlp.fc_out.weight) alpha=1
  %19: float32[8,32] = MatMul(dy, %15) transA=true alpha=1
  %20: float32[8] = ReduceSum(dy) axes=[0]
  %21: float32[T,32] = Mul(%14, %14)
  %22: float32[T,32] = Mul(%21, %14)
  %23: float32[T,32] = Mul(%22, constant.1)
  %24: float32[T,32] = Mul(%14, constant.0)
  %25: float32[T,32] = Add(%24, %23)
  %26: float32[T,32] = Sigmoid(%25)
  %27: float32[T,32] = Mul(%23, constant.2)
  %28: float32[T,32] = Add(%24, %27)
  %29: float32[T,32] = Sub(constant.3, %26)
  %30: float32[T,32] = Mul(%29, %28)
  %31: float32[T,32] = Add(constant.3, %30)
  %32: float32[T,32] = Mul(%26, %31)
  %33: float32[T,32] = Mul(%18, %32)
  %34: float32[T,8] = MatMul(%33, mlp.fc_in.weight) alpha=1
  %35: float32[32,8] = MatMul(%33, %0) transA=true alpha=1
  %36: float32[32] = ReduceSum(%33) axes=[0]
  %37: float32[R,2,L,4] = PadRows(%16, slots, unpad, valid)
  %38: float32[R,2,L,4] = Mul(%37, valid)
  %39: float32[R,2,L,4] = Mul(%38, choice)
  %40: float32[R,2,L,4] = Mul(%39, %11)
  %41: float32[R,2,L,1] = ReduceSum(%40) axes=[3] keep=true
  %42: float32[R,2,L,L] = MatMul(%39, %10) transB=true alpha=1
  %43: float32[R,2,L,L] = Sub(%42, %41)
  %44: float32[R,2,L,L] = Mul(%43, %12)
  %45: float32[R,2,L,4] = MatMul(%44, %9) alpha=0.5
  %46: float32[R,2,L,4] = MatMul(%44, %8) transA=true alpha=0.5
  %47: float32[R,2,L,4] = MatMul(%12, %38) transA=true alpha=1
  %48: float32[T,8] = UnpadRows(%47, slots, unpad, valid)
  %49: float32[T,8] = UnpadRows(%46, slots, unpad, valid)
  %50: float32[T,8] = UnpadRows(%45, slots, unpad, valid)
  %51: float32[T,2] = Neg(sin)
  %52: float32[T,8] = Rotary(%49, cos, %51) heads=2 rotaryDim=4
  %53: float32[T,2] = Neg(sin)
  %54: float32[T,8] = Rotary(%50, cos, %53) heads=2 rotaryDim=4
  %55: float32[T,8] = MatMul(%48, attn.v_proj.weight) alpha=1
  %56: float32[8,8] = MatMul(%48, %0) transA=true alpha=1
  %57: float32[T,8] = Add(%34, %55)
  %58: float32[T,8] = MatMul(%52, attn.k_proj.weight) alpha=1
  %59: float32[8,8] = MatMul(%52, %0) transA=true alpha=1
  %60: float32[T,8] = Add(%57, %58)
  %61: float32[T,8] = MatMul(%54, attn.q_proj.weight) alpha=1
  %62: float32[8,8] = MatMul(%54, %0) transA=true alpha=1
  %63: float32[T,8] = Add(%60, %61)
  %64: float32[T,8] = Sub(x, %1)
  %65: float32[T,8] = Mul(%64, %2)
  %66: float32[T,8] = Mul(%63, %65)
  %67: float32[T,8] = Mul(%63, ln_1.weight)
  %68: float32[T,1] = ReduceSum(%67) axes=[1] keep=true
  %69: float32[T,1] = Mul(%68, constant.4)
  %70: float32[T,8] = Mul(%67, %65)
  %71: float32[T,1] = ReduceSum(%70) axes=[1] keep=true
  %72: float32[T,1] = Mul(%71, constant.4)
  %73: float32[T,8] = Sub(%67, %69)
  %74: float32[T,8] = Mul(%65, %72)
  %75: float32[T,8] = Sub(%73, %74)
  %76: float32[T,8] = Mul(%75, %2)
  %77: float32[T,8] = Add(dy, %76)
  %78: float32[8] = ReduceSum(%66) axes=[0]
  %79: float32[8] = ReduceSum(%63) axes=[0]
  return dx = %77
  return d.ln_1.weight = %78
  return d.ln_1.bias = %79
  return d.attn.q_proj.weight = %62
  return d.attn.k_proj.weight = %59
  return d.attn.v_proj.weight = %56
  return d.attn.out_proj.weight = %17
  return d.mlp.fc_in.weight = %35
  return d.mlp.fc_in.bias = %36
  return d.mlp.fc_out.weight = %19
  return d.mlp.fc_out.bias = %20
`;

describe("the printed graphs", () => {
  it("are those of this version of the stage: raise it when they change, for what was trained before came out otherwise", () => {
    const all = Object.values(modelPrograms(config)).map(print).join("");
    assert.deepEqual(
      [trainDefinition.version, sha256(Buffer.from(all))],
      [3, "935f52b188c78d9d94860e39caefbc185d06a4145cb0e8ffd81126c0d1b92169"],
    );
  });

  it("of a block's backward: the inside computed again, then every gradient once, nothing dead", () => {
    assert.equal(print(modelPrograms(config).blockBackward), BLOCK_BACKWARD);
  });

  it("of a block's forward: one line an operator", () => {
    const lines = print(modelPrograms(config).blockForward).split("\n");
    const operators = lines.flatMap((line) => / = (\w+)\(/.exec(line)?.slice(1) ?? []);
    const attention = ["MatMul", "MatMul", "MatMul", "Rotary", "Rotary", "PadRows", "PadRows", "PadRows", "Attend", "UnpadRows"];
    assert.deepEqual(operators, ["LayerNorm", ...attention, "Linear", "Gelu", "Linear", "MatMul", "Add", "Add"]);
  });
});
