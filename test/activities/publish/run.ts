import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Evaluation } from "../../../activities/evaluate/evaluation.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import type { Ledger } from "../../../core/stages/ledger.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { artifactOf, sha256 } from "../../../infra/disk/files.js";
import type { HubAccess } from "../../../infra/sources/hub/access.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";
import { publishDeps } from "../../../workers/artifact-deps.js";
import { leave } from "../common/made-stages.js";
import { REFERENCE } from "../../core/model/reference.js";
import { downloadDefinition } from "../../../activities/download/definition.js";
import { evaluateDefinition } from "../../../activities/evaluate/definition.js";
import { preprocessDefinition } from "../../../activities/preprocess/definition.js";
import { trainDefinition } from "../../../activities/train/definition.js";

export const LOSSES: readonly number[] = [5.9, 5.5, 5.2, 4.9, 4.6];

/** A run below `root` that has only to be published: PyTorch's small model, and as tuned one the same after 20 steps. `ledger` changes the record of its faults. */
export async function finishedRun(
  root: string,
  target: string | null,
  gatePassed = true,
  extra: Readonly<Record<string, Uint8Array>> = {},
  ledger: Partial<Ledger> = {},
): Promise<StageRequest> {
  const base = join(REFERENCE, "gptj-tiny");
  const at = (name: string): string => join(root, name);
  for (const directory of ["base", "tuned", "tokens"]) mkdirSync(at(directory), { recursive: true });
  for (const name of ["config.json", "generation_config.json"])
    for (const directory of ["base", "tuned"]) copyFileSync(join(base, name), at(join(directory, name)));
  copyFileSync(join(base, "model.safetensors"), at("base/model.safetensors"));
  copyFileSync(join(base, "expected-after-20-steps.safetensors"), at("tuned/model.safetensors"));
  for (const [name, bytes] of Object.entries(extra)) writeFileSync(at(`tuned/${name}`), bytes);
  writeFileSync(at("tokens/index.json"), "{}");
  writeFileSync(at("rows.json"), "[]");
  const evaluation: Evaluation = {
    perplexity: { base: 300, tuned: 20 },
    gate: { judged: true, passed: gatePassed, ratio: 20 / 300, maxPerplexityRatio: 1 },
    heldOut: { rows: 2, labels: 30 },
    samples: [{ row: 7, prompt: "…", instruction: "Name <one> colour | now.", expected: "blue", base: "", tuned: "blue" }],
  };
  writeFileSync(at("evaluation.json"), JSON.stringify(evaluation));
  const inputs = await Promise.all([
    artifactOf("model", at("base")),
    artifactOf("dataset", at("rows.json")),
    artifactOf("tokens", at("tokens")),
    artifactOf("tuned", at("tuned")),
    artifactOf("report", at("evaluation.json")),
  ]);
  const config = parseRunConfig({
    model: { source: "file:///models/base" },
    dataset: { source: "hf://tatsu-lab/alpaca@main" },
    publish: { target },
  });
  const request = { config, inputs, root: join(root, "stages") };
  const [model, dataset, tokens, tuned, report] = inputs;
  await leave(downloadDefinition, request, { outputs: [model, dataset] });
  await leave(preprocessDefinition, request, { outputs: [tokens] });
  const metrics = {
    losses: LOSSES,
    tokens: 1234,
    oneKindOfMachine: true,
    fingerprint: { node: "v20", threadsPerRank: 1 },
    ledger: { ...LEDGER, ...ledger },
  };
  await leave(trainDefinition, request, { outputs: [tuned], metrics, stateDigest: sha256("state") });
  await leave(evaluateDefinition, request, { outputs: [report] });
  return request;
}

/** As training keeps it: one failure. */
const LEDGER: Ledger = {
  wallSeconds: 20,
  usefulSeconds: 15,
  startSeconds: 1,
  saveSeconds: 1,
  lostSeconds: 3,
  stoppedSeconds: 0,
  steps: 5,
  stepsRepeated: 2,
  failures: 1,
  interruptions: [{ attempt: 1, failure: true, what: "worker 0 of 8 died after 3 steps", afterStep: 2, seconds: 3, stepsLost: 2 }],
  proof: { repeated: 2, equal: 2, different: [], checkpoints: 0, checkpointsEqual: 0 },
};

/** Publishing's dependencies, without S3 where no settings are given, and without a hub where none is given. */
export function publishDependencies(
  settings: S3Settings = {},
  target = "file:///nowhere",
  {
    hub = { endpoint: "http://127.0.0.1:1", token: null },
    variables = {},
  }: { readonly hub?: HubAccess; readonly variables?: Readonly<Record<string, string>> } = {},
): ReturnType<typeof publishDeps> {
  return publishDeps(settings, { hub, variables }, () => target);
}
