import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { REFERENCE } from "../../core/model/reference.js";

const root = mkdtempSync(join(tmpdir(), "roslin-estimate-"));
const home = join(root, "home");
after(() => rmSync(root, { recursive: true }));

const rows = join(root, "rows.jsonl");
const lines = Array.from({ length: 40 }, (_, row) => JSON.stringify({ input_ids: [1, 2, 3, 4 + (row % 20)], labels: [-100, 2, 3, 4] }));
writeFileSync(rows, lines.join("\n"));

let source = `file://${REFERENCE}/gptj-tiny`;

function estimate(train: object, ...args: string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const config = join(root, "run.json");
  const model = { source };
  writeFileSync(config, JSON.stringify({ model, dataset: { source: `file://${rows}` }, preprocess: { testRows: 4 }, train }));
  const child = join(import.meta.dirname, "../main-child.js");
  return spawnSync(process.execPath, [child, "estimate", "--config", config, ...args], {
    env: { ...process.env, ROSLIN_HOME: home },
    encoding: "utf8",
  });
}

test("an estimate counts a run's rows, steps and bytes, tries its speed, and leaves nothing", () => {
  const { status, stdout } = estimate({ shards: 2, microBatch: 2, epochs: 2 }, "--workers", "2", "--json");
  assert.equal(status, 0);
  const found = JSON.parse(stdout) as {
    parameters: number;
    trained: number;
    rows: number;
    tokens: number;
    steps: number;
    disk: { checkpoint: number };
    speed: { tokensPerSecond: number };
  };
  const { parameters, trained, tokens, steps, disk, speed } = found;
  assert.deepEqual([parameters, trained, found.rows, tokens, steps], [140_608, 140_608, 36, 288, 18]);
  assert.equal(disk.checkpoint, 12 * 140_608);
  assert.ok(speed.tokensPerSecond > 0);
  assert.equal(existsSync(home), false);
});

test("of a run with adapters only they are trained and saved; what cannot work is said", () => {
  const lora = { rank: 2, targets: ["q_proj"] };
  const { stdout } = estimate({ shards: 2, method: "lora", lora }, "--json");
  const { trained, disk } = JSON.parse(stdout) as { trained: number; disk: { checkpoint: number } };
  assert.equal(disk.checkpoint, 12 * trained);
  assert.ok(trained < 2000, `${trained}`);
  const wrong = estimate({ method: "lora", lora: { targets: ["query"] } });
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /a target in train\.lora\.targets matches no linear layer.*got=query/);
  assert.match(estimate({ engine: "deepspeed" }).stderr, /for the engine onnx only/);
});

test("of an adapter that a run goes on with, its base is estimated", () => {
  const adapter = join(root, "adapter");
  cpSync(join(REFERENCE, "lora/gptj-list/final"), adapter, { recursive: true });
  const config = JSON.parse(readFileSync(join(adapter, "adapter_config.json"), "utf8")) as object;
  writeFileSync(join(adapter, "adapter_config.json"), JSON.stringify({ ...config, base_model_name_or_path: join(REFERENCE, "gptj-odd") }));
  source = `file://${adapter}`;
  const lora = { rank: 4, alpha: 8, targets: ["q_proj", "v_proj"] };
  const { status, stdout, stderr } = estimate({ shards: 2, method: "lora", lora }, "--json");
  assert.equal(status, 0, stderr);
  const { trained, rows: count } = JSON.parse(stdout) as { trained: number; rows: number };
  assert.ok(trained > 0 && trained < 2000, `${trained}`);
  assert.equal(count, 36);
  assert.match(estimate({ shards: 2 }).stderr, /the model is an adapter, and train\.method "full" trains whole models/);
});
