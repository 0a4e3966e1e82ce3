import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { elements } from "../../../core/graph/tensor.js";
import { modelOf } from "../../../core/model/families.js";
import { allParameters } from "../../../core/model/family.js";
import { archiveParts, pickle, pickledTensor, type Entry } from "../../core/format/archive.js";

/** GPT-J's width and vocabulary; thirteen of its 28 blocks make 6 GB in fp16. */
const CONFIG = {
  model_type: "gptj",
  n_layer: 13,
  n_head: 16,
  n_embd: 4096,
  n_positions: 2048,
  rotary_dim: 64,
  vocab_size: 50_400,
};
const ONE = 0x3c00;

/** The file as torch.save writes it: its pickle, then a storage for each tensor. All is zero, and a hole on disk, but the last value of every weight, which is one. */
function torchFile(): (Uint8Array | number)[] {
  const { int, dictionary, whole } = pickle;
  const storages: Entry[] = [];
  const tensors: Record<string, Buffer> = {};
  const add = (name: string, storage: string, shape: readonly number[], data: Entry[1]): void => {
    const key = String(storages.length);
    const stride = shape.map((_, axis) => int(elements(shape.slice(axis + 1))));
    tensors[name] = pickledTensor({ storage, key, elements: int(elements(shape)), shape: shape.map(int), stride });
    storages.push([`archive/data/${key}`, data]);
  };
  for (const { name, shape } of allParameters(modelOf(CONFIG, "test").parameters)) add(name, "HalfStorage", shape, 2 * elements(shape));
  for (let layer = 0; layer < CONFIG.n_layer; layer++)
    add(`transformer.h.${layer}.attn.bias`, "BoolStorage", [1, 1, 2048, 2048], 2048 * 2048);
  return archiveParts([["archive/data.pkl", whole(dictionary(tensors))], ...storages], { zip64: true });
}

test("a torch file of 6 GB is read, weight by weight, in less than 500 MB of memory", (context) => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-torch-memory-"));
  context.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "config.json"), JSON.stringify(CONFIG));
  const path = join(directory, "pytorch_model.bin");
  const descriptor = openSync(path, "w");
  const one = new Uint8Array(Uint16Array.of(ONE).buffer);
  let at = 0;
  for (const part of torchFile()) {
    at += typeof part === "number" ? part : writeSync(descriptor, part, 0, part.length, at);
    if (typeof part === "number") writeSync(descriptor, one, 0, one.length, at - one.length);
  }
  closeSync(descriptor);
  assert.ok(statSync(path).size > 6e9);
  const child = fileURLToPath(new URL("torch-memory-child.js", import.meta.url));
  const read = JSON.parse(execFileSync(process.execPath, [child, directory], { encoding: "utf8" })) as Record<string, number>;
  const weights = allParameters(modelOf(CONFIG, "test").parameters);
  const values = weights.reduce((sum, { shape }) => sum + elements(shape), 0);
  assert.deepEqual([read["values"], read["sum"]], [values, weights.length]);
  context.diagnostic(`${statSync(path).size} bytes, at most ${read["peak"]} bytes of memory`);
  assert.ok(read["peak"]! < 500e6, `${read["peak"]} bytes of memory`);
});
