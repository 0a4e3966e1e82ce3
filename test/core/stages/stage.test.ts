import assert from "node:assert/strict";
import { test } from "node:test";
import { inputsFrom, makerOf, OUTPUTS, STAGES, type Artifact } from "../../../core/stages/results.js";

const artifact = (name: string): Artifact => ({ name, uri: "s3://b/k", sha256: "0".repeat(64), bytes: 1 });

test("each output has one maker, and is an input of the stages after it", () => {
  for (const stage of STAGES) for (const name of OUTPUTS[stage]) assert.equal(makerOf(name), stage);
  const results = STAGES.map((stage) => ({ stage, outputs: OUTPUTS[stage].map(artifact) }));
  assert.deepEqual(
    inputsFrom(results).map(({ name }) => name),
    ["model", "dataset", "tokens", "tuned", "report", "published"],
  );
});

test("training's output under the name that earlier versions gave it is the tuned model, and the base keeps its own", () => {
  const results = [
    { stage: "download", outputs: [artifact("model")] },
    { stage: "train", outputs: [artifact("model")] },
  ] as const;
  assert.deepEqual(inputsFrom(results), [artifact("model"), artifact("tuned")]);
});
