import assert from "node:assert/strict";
import { test } from "node:test";
import { knownDataset, knownModel, licenceOf } from "../../../activities/report/provenance.js";

test("a model is known by its name on the hub, the narrower name first", () => {
  for (const [id, licence] of [
    ["EleutherAI/gpt-j-6b", "apache-2.0"],
    ["EleutherAI/pythia-70m-deduped", "apache-2.0"],
    ["databricks/dolly-v1-6b", "cc-by-nc-4.0"],
    ["databricks/dolly-v2-3b", "mit"],
    ["HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"],
    ["meta-llama/Llama-3.2-1B", "llama3.2"],
    ["meta-llama/Meta-Llama-3.1-8B", "llama3.1"],
    ["meta-llama/Meta-Llama-3-8B", "llama3"],
    ["Qwen/Qwen2.5-0.5B-Instruct", "apache-2.0"],
    ["Qwen/Qwen2.5-32B", "apache-2.0"],
    ["Qwen/Qwen2.5-3B-Instruct", "other"],
    ["Qwen/Qwen2-72B", "other"],
    ["somebody/gpt-j-6b", undefined],
    [null, undefined],
  ] as const)
    assert.equal(knownModel(id)?.licence, licence, String(id));
});

test("rows are known by their repository, and Alpaca's by the name of a file as well", () => {
  for (const [source, licence] of [
    ["hf://tatsu-lab/alpaca@main", "cc-by-nc-4.0"],
    ["file:///rows/alpaca-300.json", "cc-by-nc-4.0"],
    ["hf://databricks/databricks-dolly-15k", "cc-by-sa-3.0"],
    ["hf://databricks/databricks-dolly-15k@main?split=train", "cc-by-sa-3.0"],
    ["file:///rows/mine.json", undefined],
    ["s3://bucket/rows", undefined],
  ] as const)
    assert.equal(knownDataset(source)?.licence, licence, source);
});

test("of two licences the one that binds more is stated, and unknown rather than one that allows more", () => {
  for (const [base, data, expected] of [
    ["apache-2.0", "cc-by-nc-4.0", "cc-by-nc-4.0"],
    ["cc-by-nc-4.0", "unknown", "cc-by-nc-4.0"],
    ["unknown", "cc-by-nc-4.0", "cc-by-nc-4.0"],
    ["unknown", "apache-2.0", "unknown"],
    ["apache-2.0", "unknown", "unknown"],
    ["llama3.2", "cc-by-sa-3.0", "llama3.2"],
    ["apache-2.0", "cc-by-sa-3.0", "cc-by-sa-3.0"],
    ["mit", "apache-2.0", "apache-2.0"],
  ] as const)
    assert.equal(licenceOf(base, data), expected, `${base} and ${data}`);
});
