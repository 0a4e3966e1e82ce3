import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import { allParameters, isMapped, type Model } from "../../../core/model/family.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { mappedWeights, openInitialWeights, trainedModel } from "../../../infra/weights/trained-model.js";
import { mapWeights } from "../../../engines/onnx/shared-memory.js";
import { REFERENCE } from "../../core/model/reference.js";

const { train } = parseRunConfig({ train: { method: "lora", lora: { rank: 2 } } });

/** A copy of a model whose header has so many blanks more, so that its tensors begin elsewhere. */
function shifted(context: TestContext, from: string, blanks: number): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-trained-"));
  context.after(() => rmSync(directory, { recursive: true }));
  cpSync(from, directory, { recursive: true });
  const path = join(directory, "model.safetensors");
  const bytes = readFileSync(path);
  const header = Number(bytes.readBigUInt64LE());
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header + blanks));
  writeFileSync(path, Buffer.concat([length, bytes.subarray(8, 8 + header), Buffer.alloc(blanks, " "), bytes.subarray(8 + header)]));
  return directory;
}

/** A frozen base's values as training finds them, and how many parameters are mapped. */
function frozen(directory: string): { readonly values: readonly Float32Array[]; readonly mapped: number; readonly model: Model } {
  const files = new ModelFiles(directory);
  const model = trainedModel(files, train);
  const there = mapWeights(mappedWeights(files, model));
  const initial = openInitialWeights(files, train.seed);
  const base = allParameters(model.parameters).filter(({ adapter }) => adapter === undefined);
  const values = base.map((spec) => {
    const read = new Float32Array(spec.shape.reduce((product, size) => product * size, 1));
    initial.read(spec, 0, read);
    if (isMapped(spec) && spec.frozen === "float32") assert.deepEqual(there.get(spec.name), read, spec.name);
    return read;
  });
  initial.close();
  assert.equal(there.size, base.filter(isMapped).length);
  return { values, mapped: there.size, model };
}

for (const name of ["gptj-odd", "llama-grouped", "lora/gpt-neox-half/base"])
  test(`a frozen base is used where it lies, and read where it does not lie on its own size: ${name}`, (t) => {
    const where = join(REFERENCE, name);
    const plain = frozen(where);
    assert.equal(plain.mapped, plain.values.length, "all of it is mapped");
    const odd = frozen(shifted(t, where, 1));
    assert.equal(odd.mapped, 0);
    assert.deepEqual(odd.values, plain.values);
    assert.ok(allParameters(odd.model.parameters).every(({ adapter, frozen: type }) => adapter !== undefined || type === "float32"));
  });
