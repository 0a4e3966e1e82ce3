import assert from "node:assert/strict";
import { test } from "node:test";
import { parseHubSource } from "../../../core/config/hub-reference.js";

test("a hub source names repository and revision", () => {
  assert.deepEqual(parseHubSource("models", "hf://EleutherAI/gpt-j-6b@float16"), {
    kind: "models",
    id: "EleutherAI/gpt-j-6b",
    revision: "float16",
  });
  assert.deepEqual(parseHubSource("datasets", "hf://squad"), { kind: "datasets", id: "squad", revision: "main" });
  assert.equal(parseHubSource("models", "hf://a/b@refs/pr/1").revision, "refs/pr/1");
});

for (const source of ["hf://", "hf://a/b/c", "hf://../b", "hf://a/b@", "hf://a/b@x/../y", "hf://a/b c", "hf:///a/b"])
  test(`${source} is refused`, () => {
    assert.throws(() => parseHubSource("models", source), /malformed/);
  });
