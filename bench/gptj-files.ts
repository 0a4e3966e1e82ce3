import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { floatToHalf } from "../core/format/floats.js";
import { elements } from "../core/graph/tensor.js";
import { allParameters, type Model } from "../core/model/family.js";
import { modelOf as modelOfConfig } from "../core/model/families.js";
import { gptj } from "../core/model/gptj/gptj.js";
import { bitsAt, uniformAt } from "../core/rows/random.js";
import { gpt2Tokenizer, TOKENIZER_CONFIG } from "../demo/tokenizer.js";
import { writeTorchArchive, type ArchivedTensor } from "./torch-archive.js";

/** A directory as the hub's float16 branch of GPT-J 6B holds it, of made values, and rows. */

const SEED = 6;
/** The standard deviation of a weight, as GPT-J's were drawn: then a fresh model's loss is close to that of a guess. */
const DEVIATION = 0.02;
/** Values that are drawn; each piece of a tensor is taken from them at a place of its own. */
const DRAWN = 1 << 22;
const PIECE = 1 << 20;

/** GPT-J 6B with so many layers; the real one has 28 and 6,050,882,784 parameters. */
export function gptjOf(layers: number): Model {
  const size = { width: 4096, layers, heads: 16, rotary: 64, vocabulary: 50_400, positions: 2048, bosTokenId: 50_256, eosTokenId: 50_256 };
  return modelOfConfig({ ...gptj.configJson(size), initializer_range: DEVIATION, dtype: "float16" }, "GPT-J's shape");
}

/** Writes config, tokenizer and a `pytorch_model.bin` in fp16, the masks in it that transformers once kept there: 2 bytes a parameter, 4 MB a layer. */
export function writeGptj(directory: string, layers: number): Model {
  const model = gptjOf(layers);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "config.json"), JSON.stringify(model.configJson, null, 1));
  writeFileSync(join(directory, "tokenizer.json"), JSON.stringify(gpt2Tokenizer()));
  writeFileSync(join(directory, "tokenizer_config.json"), JSON.stringify(TOKENIZER_CONFIG));
  const specs = new Map(allParameters(model.parameters).map((spec) => [spec.name, spec]));
  const { positions } = model.shape;
  const masks = Array.from({ length: layers }, (_, layer): ArchivedTensor[] => [
    { name: `transformer.h.${layer}.attn.bias`, dtype: "U8", shape: [1, 1, positions, positions] },
    { name: `transformer.h.${layer}.attn.masked_bias`, dtype: "F16", shape: [] },
  ]);
  const weights = [...specs.values()].map(({ name, shape }): ArchivedTensor => ({ name, dtype: "F16", shape }));
  const tensors = [...weights, ...masks.flat()];
  const noise = drawNoise();
  writeTorchArchive(join(directory, "pytorch_model.bin"), tensors, ({ name, shape, dtype }) => {
    if (dtype === "U8") return [triangle(positions)];
    const spec = specs.get(name);
    if (spec === undefined) return [new Uint8Array(Uint16Array.of(0xfc00).buffer)];
    if (shape.length === 2)
      return piecesOf(
        noise,
        elements(shape),
        tensors.findIndex((tensor) => tensor.name === name),
      );
    return [new Uint8Array(new Uint16Array(elements(shape)).fill(spec.initial === "one" ? 0x3c00 : 0).buffer)];
  });
  return model;
}

/** Writes `count` rows in Alpaca's format, each with an answer of more than `words` made words. */
export function writeRows(path: string, count: number, words: number): void {
  const made = (row: number): string => Array.from({ length: words }, (_, at) => WORDS[bitsAt(SEED, row, at) % WORDS.length]).join(" ");
  const rows = Array.from({ length: count }, (_, row) => ({
    instruction: `Say something of ${made(row).split(" ")[0]}.`,
    input: "",
    output: made(row),
  }));
  writeFileSync(path, JSON.stringify(rows));
}

const WORDS = "time year people way day man thing woman life child world school state family student group country problem hand part".split(
  " ",
);

function drawNoise(): Uint16Array {
  const values = new Float32Array(DRAWN);
  // Box and Muller's: two at once
  for (let at = 0; at < DRAWN; at += 2) {
    const radius = DEVIATION * Math.sqrt(-2 * Math.log(1 - uniformAt(SEED, 0, at)));
    const angle = 2 * Math.PI * uniformAt(SEED, 0, at + 1);
    values[at] = radius * Math.cos(angle);
    values[at + 1] = radius * Math.sin(angle);
  }
  const halves = new Uint16Array(DRAWN);
  floatToHalf(values, halves);
  return halves;
}

function* piecesOf(noise: Uint16Array, count: number, tensor: number): Iterable<Uint8Array> {
  for (let first = 0; first < count; first += PIECE) {
    const start = bitsAt(SEED, 1, tensor, first / PIECE) % (DRAWN - PIECE);
    yield new Uint8Array(noise.buffer, start * 2, Math.min(PIECE, count - first) * 2);
  }
}

/** What a position may look at: itself and those before it. */
function triangle(positions: number): Uint8Array {
  const mask = new Uint8Array(positions * positions);
  for (let at = 0; at < positions; at++) mask.fill(1, at * positions, at * positions + at + 1);
  return mask;
}
