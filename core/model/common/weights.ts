import type { GraphBuilder, Program, Value } from "../../graph/graph.js";
import type { ParameterSpec } from "../family.js";

/** The parameters that a graph takes, by their inputs, as fp32: frozen halves are cast, and linear layers have their adapters. */
export class Weights {
  private readonly g: GraphBuilder;
  private readonly drops = new Map<string, Value>();
  private readonly taken: ReadonlyMap<string, { readonly spec: ParameterSpec; readonly value: Value }>;

  /** `declare` makes a parameter's value in the graph, by default an input. */
  constructor(
    g: GraphBuilder,
    specs: readonly ParameterSpec[],
    declare = ({ input, shape, frozen = "float32" }: ParameterSpec): Value => g.input(input, frozen, ...shape),
  ) {
    this.g = g;
    this.taken = new Map(
      specs.map((spec) => {
        const declared = declare(spec);
        return [spec.input, { spec, value: declared.type === "float32" ? declared : g.cast(declared) }];
      }),
    );
  }

  /** A parameter by its input. */
  get(input: string): Value {
    const found = this.taken.get(input);
    if (found === undefined) throw new Error(`a block has no such parameter [input=${input}]`);
    return found.value;
  }

  has(input: string): boolean {
    return this.taken.has(input);
  }

  /** x[T,I] through a linear layer [T,O]: `<module>.weight`, with `<module>.bias` and an adapter where there are any. */
  linear(x_TI: Value, module: string): Value {
    const { g } = this;
    const weight = this.get(`${module}.weight`);
    const bias = `${module}.bias`;
    const y_TO = this.has(bias) ? g.linear(x_TI, weight, this.get(bias)) : g.matMul(x_TI, weight, { transB: true });
    const [down, up] = [this.taken.get(`${module}.lora_A.weight`), this.taken.get(`${module}.lora_B.weight`)];
    if (down === undefined || up === undefined) return y_TO;
    const { scale, dropout } = up.spec.adapter!;
    const kept_TI = dropout ? g.mul(x_TI, this.drop(module, x_TI)) : x_TI;
    const low_TR = g.matMul(kept_TI, down.value, { transB: true });
    return g.add(y_TO, g.matMul(low_TR, up.value, { transB: true, alpha: scale }));
  }

  private drop(module: string, { shape }: Value): Value {
    let drop = this.drops.get(module);
    if (drop === undefined) this.drops.set(module, (drop = this.g.input(`drop.${module}`, "float32", ...shape)));
    return drop;
  }

  /** Those that are trained and that a graph takes, as gradients are wanted of them: by `d.<input>`. */
  trained(program: Program, wanted: (input: string) => boolean = () => true): Record<string, Value> {
    return Object.fromEntries(
      [...this.taken].flatMap(([input, { spec, value }]) =>
        spec.frozen === undefined && wanted(input) && program.inputs.includes(value) ? [[`d.${input}`, value]] : [],
      ),
    );
  }
}
