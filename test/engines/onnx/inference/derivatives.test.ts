import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { elements } from "../../../../core/graph/tensor.js";
import { allParameters } from "../../../../core/model/family.js";
import { openInference } from "../../../../engines/onnx/inference/open-inference.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { readTokenizer } from "../../../../infra/text/read-tokenizer.js";
import { ModelFiles } from "../../../../infra/weights/model-files.js";
import { trainingLogits } from "../../../core/model/logits.js";
import { readTensors, REFERENCE, worstShare } from "../../../core/model/reference.js";

/** Directories as the hub has them of GPT-J's derivatives, but small: what transformers makes of them, Roslin does. */
const KINDS = join(REFERENCE, "gptj-derivatives");

interface Expected {
  readonly text: string;
  readonly text_ids: readonly number[];
  readonly ids: readonly number[];
  readonly loss: number;
  readonly continuation: readonly number[];
}

for (const [name, dtype] of Object.entries({ "dolly-v1": "BF16", "gpt-jt": "F16", "gpt4all-j": "BF16", "gpt-j-float16": "F16" }))
  describe(`a directory like ${name}`, () => {
    const directory = join(KINDS, name);
    const expected = JSON.parse(readFileSync(join(directory, "expected.json"), "utf8")) as Expected;
    const ids = Int32Array.from(expected.ids);
    const row = { source: 0, inputIds: ids, labels: ids };

    it("gives the ids of its text, with its added tokens", () => {
      assert.deepEqual([...readTokenizer(directory).encode(expected.text)], expected.text_ids);
    });

    it("gives the logits of half-precision weights, whatever its files and buffers", async () => {
      const files = new ModelFiles(directory);
      assert.equal(files.dtype, dtype);
      const { model } = files;
      const weights = new Map(
        allParameters(model.parameters).map((spec) => {
          const values = new Float32Array(elements(spec.shape));
          files.readFloats(spec.name, 0, values);
          return [spec.name, values];
        }),
      );
      files.close();
      const sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
      const logits = await trainingLogits(sessions, model, weights, [row]);
      for (const session of Object.values(sessions)) await session.close();
      assert.ok(worstShare(logits, readTensors(join(directory, "expected-logits.safetensors")).get("logits")!) < 1e-5);
    });

    it("gives the loss, and the same greedy answer", async () => {
      const model = await openInference(directory, new AbortController().signal);
      const { nll, labels } = await model.score([row]);
      assert.ok(Math.abs(nll / labels - expected.loss) < 1e-5 * expected.loss);
      const said: number[] = [];
      for await (const { token } of model.generate([expected.ids])) if (said.push(token) === expected.continuation.length) break;
      await model.close();
      assert.deepEqual(said, expected.continuation);
    });
  });

it("every kind of directory is looked at", () => assert.equal(readdirSync(KINDS).length, 4));
