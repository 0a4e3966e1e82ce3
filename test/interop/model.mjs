// Roslin's logits and greedy tokens of prompts: node model.mjs MODEL TOKENS OUT < prompts' ids as JSON (see model.py).
import { readFileSync, writeFileSync } from "node:fs";
import { elements } from "../../dist/core/graph/tensor.js";
import { allParameters } from "../../dist/core/model/family.js";
import { loadModel } from "../../dist/engines/onnx/inference/model.js";
import { createSession } from "../../dist/engines/onnx/session/session.js";
import { openSessions } from "../../dist/engines/onnx/step/workplace.js";
import { ModelFiles } from "../../dist/infra/weights/model-files.js";
import { trainingLogits } from "../../dist/test/core/model/logits.js";

const [directory, tokens, out] = process.argv.slice(2);
const prompts = JSON.parse(readFileSync(0, "utf8"));
const files = new ModelFiles(directory);
const { model } = files;
const weights = new Map(
  allParameters(model.parameters).map(({ name, shape }) => {
    const values = new Float32Array(elements(shape));
    files.readFloats(name, 0, values);
    return [name, values];
  }),
);
files.close();
const sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
// the rows lie end to end, as in training
const rows = prompts.map((ids, source) => ({ source, inputIds: Int32Array.from(ids), labels: Int32Array.from(ids) }));
const logits = await trainingLogits(sessions, model, weights, rows);
writeFileSync(out, new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
for (const session of Object.values(sessions)) await session.close();
weights.clear();

const loaded = await loadModel(new ModelFiles(directory), 2, () => false);
const answers = [];
for (const prompt of prompts) {
  const answer = [];
  for await (const [said] of loaded.generate([prompt])) if (answer.push(said.token) === Number(tokens)) break;
  answers.push(answer);
}
await loaded.close();
console.log(JSON.stringify(answers));
