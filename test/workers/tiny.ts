import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StageContext, StageRequest } from "../../activities/stage.js";
import { parseRunConfig } from "../../core/config/schema.js";
import { encodeChunk, TOKEN_INDEX } from "../../core/format/token-shards.js";
import type { Progress } from "../../core/stage.js";
import { artifactOf, sha256 } from "../../infra/files.js";

/** The reference model with rows made of its vocabulary, as training's inputs. */

export const REFERENCE: string = join(import.meta.dirname, "..", "..", "..", "test", "reference", "gptj-tiny");

export interface Row {
  readonly input_ids: readonly number[];
  readonly labels: readonly number[];
}

export interface Expected {
  readonly training_losses: readonly number[];
  readonly gradient_norms_before_clipping: readonly number[];
  readonly rows: readonly Row[];
}

/** PyTorch's figures, and its batch without the padding. */
export async function expected(): Promise<Expected> {
  const json = JSON.parse(await readFile(join(REFERENCE, "expected.json"), "utf8")) as Expected & {
    readonly input_ids: number[][];
    readonly attention_mask: number[][];
    readonly labels: number[][];
  };
  const rows = json.input_ids.map((ids, row) => {
    const length = json.attention_mask[row]!.reduce((sum, each) => sum + each, 0);
    return { input_ids: ids.slice(0, length), labels: json.labels[row]!.slice(0, length) };
  });
  return { ...json, rows };
}

/** `count` rows of 4 to 23 tokens, labels on their later part. */
export function madeRows(count: number): Row[] {
  return Array.from({ length: count }, (_, row) => {
    const length = 4 + ((row * 7) % 20);
    const input_ids = Array.from({ length }, (_each, at) => (row * 31 + at * at * 17 + 5) % 320);
    return { input_ids, labels: input_ids.map((id, at) => (at < 2 + (row % 3) ? -100 : id)) };
  });
}

export interface Job {
  readonly request: StageRequest;
  readonly seen: Progress[];
  context(signal?: AbortSignal): StageContext;
}

/** A training job in a directory of its own, which is removed after the test. */
export async function job(t: { after(done: () => Promise<void>): void }, rows: readonly Row[], train: object): Promise<Job> {
  const root = await mkdtemp(join(tmpdir(), "train-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const tokens = join(root, "tokens");
  await mkdir(tokens);
  const chunk = encodeChunk(rows.map((row, source) => ({ source, inputIds: row.input_ids, labels: row.labels })));
  await writeFile(join(tokens, "00000.safetensors"), chunk);
  const chunks = [{ file: "00000.safetensors", sha256: sha256(chunk), bytes: chunk.length, rows: rows.length }];
  const digest = "0".repeat(64);
  await writeFile(join(tokens, TOKEN_INDEX), JSON.stringify({ version: 1, inputs: { model: digest, dataset: digest }, chunks, test: [] }));
  const inputs = [await artifactOf("model", REFERENCE), await artifactOf("tokens", tokens)];
  const seen: Progress[] = [];
  return {
    request: { config: parseRunConfig({ train }), inputs, root },
    seen,
    context: (signal = new AbortController().signal) => ({ signal, progress: (progress) => void seen.push(progress) }),
  };
}
