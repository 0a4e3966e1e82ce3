import type { Program, Value } from "./graph.js";

/** A graph as text, one node a line: what it does, readable in a test and in a review. */
export function print(program: Program): string {
  const names = new Map<Value, string>();
  const show = (value: Value): string => `${names.get(value)}: ${value.type}[${value.shape.join(",")}]`;
  for (const value of program.inputs) names.set(value, value.name!);
  for (const value of program.initializers) names.set(value, value.name!);
  let count = 0;
  const used = new Set([...program.nodes.flatMap((node) => node.inputs), ...program.outputs.values()]);
  const lines = program.nodes.map(({ op, attributes, inputs, outputs }) => {
    for (const value of outputs) names.set(value, used.has(value) ? `%${count++}` : "_");
    const settings = Object.entries(attributes).flatMap(([key, value]) => (value === false ? [] : [` ${key}=${JSON.stringify(value)}`]));
    const results = outputs.map((value) => (used.has(value) ? show(value) : "_")).join(", ");
    return `  ${results} = ${op}(${inputs.map((value) => names.get(value)).join(", ")})${settings.join("")}`;
  });
  const outputs = [...program.outputs].map(([name, value]) => `  return ${name} = ${names.get(value)}`);
  return [`${program.name}(${program.inputs.map(show).join(", ")})`, ...lines, ...outputs, ""].join("\n");
}
