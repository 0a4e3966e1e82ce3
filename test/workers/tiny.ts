import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StageContext, StageRequest } from "../../activities/common/stage.js";
import { parseRunConfig } from "../../core/config/schema.js";
import type { TokenRow } from "../../core/rows/token-rows.js";
import { encodeChunk } from "../../core/format/token-chunk.js";
import { TOKEN_INDEX } from "../../core/format/token-shards.js";
import type { Progress } from "../../core/stages/results.js";
import { artifactOf, sha256 } from "../../infra/disk/files.js";
import { REFERENCE } from "../core/model/reference.js";

/** The reference model with rows made of its vocabulary, as training's inputs. */

type Row = Pick<TokenRow, "inputIds" | "labels">;

/** `count` rows of 4 to 23 tokens, labels on their later part. */
export function madeRows(count: number, vocabulary = 320): Row[] {
  return Array.from({ length: count }, (_, row) => {
    const length = 4 + ((row * 7) % 20);
    const inputIds = Int32Array.from({ length }, (_each, at) => (row * 31 + at * at * 17 + 5) % vocabulary);
    return { inputIds, labels: inputIds.map((id, at) => (at < 2 + (row % 3) ? -100 : id)) };
  });
}

export interface Job {
  readonly request: StageRequest;
  readonly seen: Progress[];
  context(signal?: AbortSignal): StageContext;
}

/** A training job for a reference model, in a directory of its own that is removed after the test. `test`: numbers of the test rows. */
export async function job(
  t: { after(done: () => Promise<void>): void },
  rows: readonly Row[],
  train: object,
  model = "gptj-tiny",
  test: readonly number[] = [],
): Promise<Job> {
  const root = await mkdtemp(join(tmpdir(), "train-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const tokens = join(root, "tokens");
  await mkdir(tokens);
  const chunk = encodeChunk(rows.map((row, source) => ({ ...row, source })));
  await writeFile(join(tokens, "00000.safetensors"), chunk);
  const chunks = [{ file: "00000.safetensors", sha256: sha256(chunk), bytes: chunk.length, rows: rows.length }];
  const digest = "0".repeat(64);
  await writeFile(join(tokens, TOKEN_INDEX), JSON.stringify({ version: 1, inputs: { model: digest, dataset: digest }, chunks, test }));
  const inputs = [await artifactOf("model", join(REFERENCE, model)), await artifactOf("tokens", tokens)];
  const seen: Progress[] = [];
  return {
    request: { config: parseRunConfig({ train }), inputs, root },
    seen,
    context: (signal = new AbortController().signal) => ({ signal, progress: (progress) => void seen.push(progress) }),
  };
}
