import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { UserError } from "../../../core/errors.js";
import { layoutFile } from "../../../core/format/safetensors.js";
import { allParameters } from "../../../core/model/family.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { REFERENCE, reference } from "../../core/model/reference.js";

const TIED = "llama-grouped";
const { model, weights } = reference(TIED);
const TABLE = model.parameters.embedding.name;

/** The reference's files with one more tensor, of this shape and these values. */
function withTensor(context: TestContext, tensor: string, shape: readonly number[], values: Float32Array): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-tied-"));
  context.after(() => rmSync(directory, { recursive: true }));
  copyFileSync(join(REFERENCE, TIED, "config.json"), join(directory, "config.json"));
  const tensors = [
    ...allParameters(model.parameters).map((spec) => ({ ...spec, values: weights.get(spec.name)! })),
    { name: tensor, shape, values },
  ];
  const { header, entries, fileBytes } = layoutFile(tensors.map(({ name, shape: sizes }) => ({ name, shape: sizes, dtype: "F32" })));
  const file = Buffer.alloc(fileBytes);
  file.set(header);
  for (const { name, values: floats } of tensors)
    file.set(Buffer.from(floats.slice().buffer), entries.find((entry) => entry.name === name)!.offset);
  writeFileSync(join(directory, "model.safetensors"), file);
  return directory;
}

test("a tied head that the files hold as well is the embedding, or is refused, as transformers would not tie it", (context) => {
  const table = weights.get(TABLE)!;
  const { shape } = model.parameters.embedding;
  const files = new ModelFiles(withTensor(context, "lm_head.weight", shape, table));
  const head = new Float32Array(table.length);
  files.readFloats(TABLE, 0, head);
  assert.deepEqual(head, table);
  files.close();
  const refused = (directory: string, message: RegExp): void =>
    assert.throws(
      () => new ModelFiles(directory),
      (error) => error instanceof UserError && message.test(error.message),
    );
  const differs = /tie_word_embeddings \[.*tensor=lm_head\.weight, expected=false, or what model\.embed_tokens\.weight has/;
  refused(withTensor(context, "lm_head.weight", shape, table.with(table.length - 1, 2)), differs);
  refused(withTensor(context, "lm_head.weight", shape.toReversed(), table), differs);
  refused(withTensor(context, "lm_head.bias", [1], Float32Array.of(0)), /config doesn't know .*lm_head\.bias/);
});

test("buffers of old files are no weights", (context) => {
  for (const name of ["model.layers.1.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"])
    new ModelFiles(withTensor(context, name, [2], Float32Array.of(1, 0.1))).close();
});
