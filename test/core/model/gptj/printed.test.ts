import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseGptjConfig } from "../../../../core/model/gptj/config.js";
import { gptj } from "../../../../core/model/gptj/gptj.js";
import { blockPrograms } from "../../../../core/model/gptj/training.js";
import { print } from "../../../../core/graph/print.js";
import { sha256 } from "../../../../infra/disk/files.js";
import { trainDefinition } from "../../../../activities/train/definition.js";

const config = parseGptjConfig({ model_type: "gptj", n_layer: 1, n_head: 2, n_embd: 8, vocab_size: 50, rotary_dim: 4 }, "test");

const parameters = gptj.parameters(config);
const programs = blockPrograms(config, parameters.blocks[0]!);

/** The block's way back as it was generated when the figures were checked: a change here is a change of every trained bit. */
const BLOCK_BACKWARD = `\
join.backward(gathered: float32[T,8], attn.out_proj.weight: float32[8,8], mlp.fc_out.weight: float32[8,32], dy: float32[T,8])
  %0: float32[T,8] = MatMul(dy, attn.out_proj.weight) alpha=1
  %1: float32[8,8] = MatMul(dy, gathered) transA=true alpha=1
  %2: float32[T,32] = MatMul(dy, mlp.fc_out.weight) alpha=1
  %3: float32[8] = ReduceSum(dy) axes=[0]
  return d.gathered = %0
  return d.activated = %2
  return d.attn.out_proj.weight = %1
  return d.mlp.fc_out.bias = %3
activate.backward(inner: float32[T,32], d.activated: float32[T,32])
  %0: float32[T,32] = Gelu(inner)
  %1: float32[T,32] = Mul(inner, inner)
  %2: float32[T,32] = Mul(%1, inner)
  %3: float32[T,32] = Mul(%2, constant.1)
  %4: float32[T,32] = Mul(inner, constant.0)
  %5: float32[T,32] = Add(%4, %3)
  %6: float32[T,32] = Sigmoid(%5)
  %7: float32[T,32] = Mul(%3, constant.2)
  %8: float32[T,32] = Add(%4, %7)
  %9: float32[T,32] = Sub(constant.3, %6)
  %10: float32[T,32] = Mul(%9, %8)
  %11: float32[T,32] = Add(constant.3, %10)
  %12: float32[T,32] = Mul(%6, %11)
  %13: float32[T,32] = Mul(d.activated, %12)
  return activated = %0
  return d.inner = %13
attend.backward(q: float32[S,8], k: float32[S,8], v: float32[S,8], causal: float32[S,S], d.gathered: float32[S,8])
  %0: float32[S,2,4] = Reshape(q) shape=["S",2,4]
  %1: float32[2,S,4] = Transpose(%0) order=[1,0,2]
  %2: float32[S,2,4] = Reshape(k) shape=["S",2,4]
  %3: float32[2,S,4] = Transpose(%2) order=[1,0,2]
  %4: float32[S,2,4] = Reshape(v) shape=["S",2,4]
  %5: float32[2,S,4] = Transpose(%4) order=[1,0,2]
  _, %6: float32[2,S,S] = Attend(%1, %3, %5, causal) alpha=0.5
  %7: float32[S,2,4] = Reshape(d.gathered) shape=["S",2,4]
  %8: float32[2,S,4] = Transpose(%7) order=[1,0,2]
  %9: float32[2,S,S] = MatMul(%8, %5) transB=true alpha=1
  %10: float32[2,S,S] = Mul(%9, %6)
  %11: float32[2,S,1] = ReduceSum(%10) axes=[2] keep=true
  %12: float32[2,S,S] = Sub(%9, %11)
  %13: float32[2,S,S] = Mul(%12, %6)
  %14: float32[2,S,4] = MatMul(%13, %3) alpha=0.5
  %15: float32[2,S,4] = MatMul(%13, %1) transA=true alpha=0.5
  %16: float32[2,S,4] = MatMul(%6, %8) transA=true alpha=1
  %17: float32[S,2,4] = Transpose(%16) order=[1,0,2]
  %18: float32[S,8] = Reshape(%17) shape=["S",8]
  %19: float32[S,2,4] = Transpose(%15) order=[1,0,2]
  %20: float32[S,8] = Reshape(%19) shape=["S",8]
  %21: float32[S,2,4] = Transpose(%14) order=[1,0,2]
  %22: float32[S,8] = Reshape(%21) shape=["S",8]
  return d.q = %22
  return d.k = %20
  return d.v = %18
project.backward(x: float32[T,8], cos: float32[T,2], sin: float32[T,2], ln_1.weight: float32[8], ln_1.bias: float32[8], attn.q_proj.weight: float32[8,8], attn.k_proj.weight: float32[8,8], attn.v_proj.weight: float32[8,8], mlp.fc_in.weight: float32[32,8], d.q: float32[T,8], d.k: float32[T,8], d.v: float32[T,8], d.inner: float32[T,32], dy: float32[T,8], activated: float32[T,32])
  %0: float32[T,8], %1: float32[T,1], %2: float32[T,1] = LayerNorm(x, ln_1.weight, ln_1.bias) epsilon=0.00001
  %3: float32[T,2] = Neg(sin)
  %4: float32[T,8] = Rotary(d.k, cos, %3) heads=2 rotaryDim=4
  %5: float32[T,2] = Neg(sin)
  %6: float32[T,8] = Rotary(d.q, cos, %5) heads=2 rotaryDim=4
  %7: float32[T,8] = MatMul(d.inner, mlp.fc_in.weight) alpha=1
  %8: float32[32,8] = MatMul(d.inner, %0) transA=true alpha=1
  %9: float32[32] = ReduceSum(d.inner) axes=[0]
  %10: float32[T,8] = MatMul(d.v, attn.v_proj.weight) alpha=1
  %11: float32[8,8] = MatMul(d.v, %0) transA=true alpha=1
  %12: float32[T,8] = Add(%7, %10)
  %13: float32[T,8] = MatMul(%4, attn.k_proj.weight) alpha=1
  %14: float32[8,8] = MatMul(%4, %0) transA=true alpha=1
  %15: float32[T,8] = Add(%12, %13)
  %16: float32[T,8] = MatMul(%6, attn.q_proj.weight) alpha=1
  %17: float32[8,8] = MatMul(%6, %0) transA=true alpha=1
  %18: float32[T,8] = Add(%15, %16)
  %19: float32[T,8] = Sub(x, %1)
  %20: float32[T,8] = Mul(%19, %2)
  %21: float32[T,8] = Mul(%18, %20)
  %22: float32[T,8] = Mul(%18, ln_1.weight)
  %23: float32[T,1] = ReduceSum(%22) axes=[1] keep=true
  %24: float32[T,1] = Mul(%23, constant.0)
  %25: float32[T,8] = Mul(%22, %20)
  %26: float32[T,1] = ReduceSum(%25) axes=[1] keep=true
  %27: float32[T,1] = Mul(%26, constant.0)
  %28: float32[T,8] = Sub(%22, %24)
  %29: float32[T,8] = Mul(%20, %27)
  %30: float32[T,8] = Sub(%28, %29)
  %31: float32[T,8] = Mul(%30, %2)
  %32: float32[8] = ReduceSum(%21) axes=[0]
  %33: float32[8] = ReduceSum(%18) axes=[0]
  %34: float32[8,32] = MatMul(dy, activated) transA=true alpha=1
  %35: float32[T,8] = Add(dy, %31)
  return dx = %35
  return d.ln_1.weight = %32
  return d.ln_1.bias = %33
  return d.attn.q_proj.weight = %17
  return d.attn.k_proj.weight = %14
  return d.attn.v_proj.weight = %11
  return d.mlp.fc_in.weight = %8
  return d.mlp.fc_in.bias = %9
  return d.mlp.fc_out.weight = %34
`;

describe("the printed graphs", () => {
  it("are those of this version of the stage: raise it when they change, for what was trained before came out otherwise", () => {
    const { norm, head } = gptj.training(config, parameters);
    const ends = [norm.forward, norm.backward, head.forward, head.backward, head.weightBackward!];
    const all = [...Object.values(programs), ...ends].map(print).join("");
    assert.deepEqual(
      [trainDefinition.version, sha256(Buffer.from(all))],
      [8, "97ea6c83b964b790427798d181828afc00d10c58be88b6f464a8377df8e6fbb7"],
    );
  });

  it("of a block's way back: the scores and the norm computed again, then every gradient once, nothing dead", () => {
    const { joinBackward, activateBackward, attendBackward, projectBackward } = programs;
    assert.equal([joinBackward, activateBackward, attendBackward, projectBackward].map(print).join(""), BLOCK_BACKWARD);
  });

  it("of a block's way forward: one line an operator", () => {
    const { projectForward, attendForward, joinForward } = programs;
    const operators = [projectForward, attendForward, joinForward].map((program) => program.nodes.map(({ op }) => op));
    const heads = ["Reshape", "Transpose"];
    assert.deepEqual(operators, [
      ["LayerNorm", "MatMul", "MatMul", "MatMul", "Linear", "Rotary", "Rotary"],
      [...heads, ...heads, ...heads, "Attend", "Transpose", "Reshape"],
      ["Gelu", "Linear", "MatMul", "Add", "Add"],
    ]);
  });
});
