import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseGptjConfig } from "../../../core/model/config.js";
import { modelPrograms } from "../../../core/model/graphs.js";
import { print } from "../../../core/onnx/print.js";

const config = parseGptjConfig({ model_type: "gptj", n_layer: 1, n_head: 2, n_embd: 8, vocab_size: 50, rotary_dim: 4 }, "test");

/** The block's backward as it was generated when the figures were checked: a change here is a change of every trained bit. */
const BLOCK_BACKWARD = `\
block.backward(x: float32[T,8], cos: float32[T,2], sin: float32[T,2], slots: int32[R,2,L], unpad: int32[T,2], valid: float32[R,1,L,1], causal: float32[L,L], ln_1.weight: float32[8], ln_1.bias: float32[8], attn.q_proj.weight: float32[8,8], attn.k_proj.weight: float32[8,8], attn.v_proj.weight: float32[8,8], attn.out_proj.weight: float32[8,8], mlp.fc_in.weight: float32[32,8], mlp.fc_in.bias: float32[32], mlp.fc_out.weight: float32[8,32], dy: float32[T,8])
  %0: float32[T,8], %1: float32[T,1], %2: float32[T,1] = LayerNorm(x, ln_1.weight, ln_1.bias) epsilon=0.00001
  %3: float32[T,8] = MatMul(%0, attn.q_proj.weight) transB=true alpha=1
  %4: float32[T,8] = MatMul(%0, attn.k_proj.weight) transB=true alpha=1
  %5: float32[T,8] = MatMul(%0, attn.v_proj.weight) transB=true alpha=1
  %6: float32[T,8] = Rotary(%3, cos, sin) heads=2 rotaryDim=4
  %7: float32[T,8] = Rotary(%4, cos, sin) heads=2 rotaryDim=4
  %8: float32[R,2,L,4] = PadRows(%6, slots, unpad, valid)
  %9: float32[R,2,L,4] = PadRows(%7, slots, unpad, valid)
  %10: float32[R,2,L,4] = PadRows(%5, slots, unpad, valid)
  %11: float32[R,2,L,L] = MatMul(%8, %9) transB=true alpha=0.5
  %12: float32[R,2,L,L] = Add(%11, causal)
  %13: float32[R,2,L,L] = Softmax(%12)
  %14: float32[R,2,L,4] = MatMul(%13, %10) alpha=1
  %15: float32[T,8] = UnpadRows(%14, slots, unpad, valid)
  %16: float32[T,32] = Linear(%0, mlp.fc_in.weight, mlp.fc_in.bias)
  %17: float32[T,32] = Gelu(%16)
  %18: float32[T,8] = MatMul(dy, attn.out_proj.weight) alpha=1
  %19: float32[8,8] = MatMul(dy, %15) transA=true alpha=1
  %20: float32[T,32] = MatMul(dy, mlp.fc_out.weight) alpha=1
  %21: float32[8,32] = MatMul(dy, %17) transA=true alpha=1
  %22: float32[8] = ReduceSum(dy) axes=[0]
  %23: float32[T,32] = Mul(%16, %16)
  %24: float32[T,32] = Mul(%23, %16)
  %25: float32[T,32] = Mul(%24, constant.1)
  %26: float32[T,32] = Mul(%16, constant.0)
  %27: float32[T,32] = Add(%26, %25)
  %28: float32[T,32] = Sigmoid(%27)
  %29: float32[T,32] = Mul(%25, constant.2)
  %30: float32[T,32] = Add(%26, %29)
  %31: float32[T,32] = Sub(constant.3, %28)
  %32: float32[T,32] = Mul(%31, %30)
  %33: float32[T,32] = Add(constant.3, %32)
  %34: float32[T,32] = Mul(%28, %33)
  %35: float32[T,32] = Mul(%20, %34)
  %36: float32[T,8] = MatMul(%35, mlp.fc_in.weight) alpha=1
  %37: float32[32,8] = MatMul(%35, %0) transA=true alpha=1
  %38: float32[32] = ReduceSum(%35) axes=[0]
  %39: float32[R,2,L,4] = PadRows(%18, slots, unpad, valid)
  %40: float32[R,2,L,4] = Mul(%39, valid)
  %41: float32[R,2,L,L] = MatMul(%40, %10) transB=true alpha=1
  %42: float32[R,2,L,4] = MatMul(%13, %40) transA=true alpha=1
  %43: float32[R,2,L,L] = Mul(%41, %13)
  %44: float32[R,2,L,1] = ReduceSum(%43) axes=[3] keep=true
  %45: float32[R,2,L,L] = Mul(%13, %44)
  %46: float32[R,2,L,L] = Sub(%43, %45)
  %47: float32[R,2,L,4] = MatMul(%46, %9) alpha=0.5
  %48: float32[R,2,L,4] = MatMul(%46, %8) transA=true alpha=0.5
  %49: float32[T,8] = UnpadRows(%42, slots, unpad, valid)
  %50: float32[T,8] = UnpadRows(%48, slots, unpad, valid)
  %51: float32[T,8] = UnpadRows(%47, slots, unpad, valid)
  %52: float32[T,2] = Neg(sin)
  %53: float32[T,8] = Rotary(%50, cos, %52) heads=2 rotaryDim=4
  %54: float32[T,2] = Neg(sin)
  %55: float32[T,8] = Rotary(%51, cos, %54) heads=2 rotaryDim=4
  %56: float32[T,8] = MatMul(%49, attn.v_proj.weight) alpha=1
  %57: float32[8,8] = MatMul(%49, %0) transA=true alpha=1
  %58: float32[T,8] = Add(%36, %56)
  %59: float32[T,8] = MatMul(%53, attn.k_proj.weight) alpha=1
  %60: float32[8,8] = MatMul(%53, %0) transA=true alpha=1
  %61: float32[T,8] = Add(%58, %59)
  %62: float32[T,8] = MatMul(%55, attn.q_proj.weight) alpha=1
  %63: float32[8,8] = MatMul(%55, %0) transA=true alpha=1
  %64: float32[T,8] = Add(%61, %62)
  %65: float32[T,8] = Sub(x, %1)
  %66: float32[T,8] = Mul(%65, %2)
  %67: float32[T,8] = Mul(%64, %66)
  %68: float32[T,8] = Mul(%64, ln_1.weight)
  %69: float32[T,1] = ReduceSum(%68) axes=[1] keep=true
  %70: float32[T,1] = Mul(%69, constant.4)
  %71: float32[T,8] = Mul(%68, %66)
  %72: float32[T,1] = ReduceSum(%71) axes=[1] keep=true
  %73: float32[T,1] = Mul(%72, constant.4)
  %74: float32[T,8] = Sub(%68, %70)
  %75: float32[T,8] = Mul(%66, %73)
  %76: float32[T,8] = Sub(%74, %75)
  %77: float32[T,8] = Mul(%76, %2)
  %78: float32[T,8] = Add(dy, %77)
  %79: float32[8] = ReduceSum(%67) axes=[0]
  %80: float32[8] = ReduceSum(%64) axes=[0]
  return dx = %78
  return d.ln_1.weight = %79
  return d.ln_1.bias = %80
  return d.attn.q_proj.weight = %63
  return d.attn.k_proj.weight = %60
  return d.attn.v_proj.weight = %57
  return d.attn.out_proj.weight = %19
  return d.mlp.fc_in.weight = %37
  return d.mlp.fc_in.bias = %38
  return d.mlp.fc_out.weight = %21
  return d.mlp.fc_out.bias = %22
`;

describe("the printed graphs", () => {
  it("of a block's backward: the inside computed again, then every gradient once, nothing dead", () => {
    assert.equal(print(modelPrograms(config).blockBackward), BLOCK_BACKWARD);
  });

  it("of a block's forward: one line an operator", () => {
    const lines = print(modelPrograms(config).blockForward).split("\n");
    const operators = lines.flatMap((line) => / = (\w+)\(/.exec(line)?.slice(1) ?? []);
    const attention = ["MatMul", "MatMul", "MatMul", "Rotary", "Rotary", "PadRows", "PadRows", "PadRows", "MatMul", "Add", "Softmax", "MatMul", "UnpadRows"];
    assert.deepEqual(operators, ["LayerNorm", ...attention, "Linear", "Gelu", "Linear", "MatMul", "Add", "Add"]);
  });
});
