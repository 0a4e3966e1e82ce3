import { bytes, float, integer, message, text } from "../format/protobuf.js";
import type { Bytes } from "./graph.js";
import type { ElementType, Graph, TensorInfo } from "./tensor.js";

/** Writes ONNX's messages, of which we need few: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto names the fields. */

const IR_VERSION = 9;
const OPSETS = [
  { domain: "", version: 20 },
  { domain: "com.microsoft", version: 1 },
];
const ELEMENT: Record<ElementType, number> = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10, bfloat16: 16 };

/** An attribute of an ONNX node. */
export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly ints: readonly number[] }
  | { readonly string: string };

/** A node as ONNX writes it. */
export interface OnnxNode {
  readonly type: string;
  /** "" is ONNX's own, "com.microsoft" onnxruntime's */
  readonly domain: string;
  readonly inputs: readonly string[];
  /** "" leaves an optional output out */
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A tensor that is part of a model. */
export interface OnnxInitializer {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly bytes: Bytes;
}

/** A model as ONNX writes it. */
export interface OnnxModel {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** The model as ModelProto. */
export function encodeModel({ name, nodes, initializers, inputs, outputs }: OnnxModel): Graph {
  const graph = message(
    ...nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, name),
    ...initializers.map((tensor) => bytes(5, encodeTensor(tensor))),
    ...inputs.map((info) => bytes(11, encodeInfo(info))),
    ...outputs.map((info) => bytes(12, encodeInfo(info))),
  );
  const opsets = OPSETS.map(({ domain, version }) => bytes(8, message(text(1, domain), integer(2, version))));
  return { name, inputs, outputs, bytes: message(integer(1, IR_VERSION), text(2, "roslin"), bytes(7, graph), ...opsets) };
}

function encodeNode({ type, domain, inputs, outputs, attributes }: OnnxNode): Uint8Array {
  return message(
    ...inputs.map((input) => text(1, input)),
    ...outputs.map((output) => text(2, output)),
    text(4, type),
    ...Object.entries(attributes).map(([name, value]) => bytes(5, message(text(1, name), ...encodeAttribute(value)))),
    text(7, domain),
  );
}

function encodeAttribute(value: Attribute): Uint8Array[] {
  if ("float" in value) return [float(2, value.float), integer(20, 1)];
  if ("int" in value) return [integer(3, value.int), integer(20, 2)];
  if ("string" in value) return [text(4, value.string), integer(20, 3)];
  return [...value.ints.map((int) => integer(8, int)), integer(20, 7)];
}

function encodeTensor({ name, type, shape, bytes: content }: OnnxInitializer): Uint8Array {
  const data =
    content instanceof Uint8Array
      ? [bytes(9, content)]
      : [...Object.entries(content).map(([key, value]) => bytes(13, message(text(1, key), text(2, String(value))))), integer(14, 1)];
  return message(...shape.map((size) => integer(1, size)), integer(2, ELEMENT[type]), text(8, name), ...data);
}

function encodeInfo({ name, type, shape }: TensorInfo): Uint8Array {
  const axes = shape.map((size) => bytes(1, typeof size === "number" ? integer(1, size) : text(2, size)));
  const tensor = message(integer(1, ELEMENT[type]), bytes(2, message(...axes)));
  return message(text(1, name), bytes(2, message(bytes(1, tensor))));
}
