import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { download } from "../../../activities/download/download.js";
import { layoutFile } from "../../../core/format/safetensors.js";
import { modelOf } from "../../../core/model/families.js";
import { allParameters } from "../../../core/model/family.js";
import { outputNamed, type Progress, type StageResult } from "../../../core/stages/results.js";
import { startTestHub, type TestHub } from "../../infra/sources/hub/harness.js";
import { dependenciesFor, requestFor } from "./dependencies.js";

/** A small model and rows on a hub, for tests of downloads. */

export const CONFIG = { model_type: "gptj", n_layer: 1, n_head: 2, n_embd: 8, n_positions: 16, rotary_dim: 4, vocab_size: 32 };
export const ROWS = JSON.stringify([{ instruction: "Say hello.", input: "", output: "hello" }]);

/** A safetensors file with every weight of CONFIG, all zero. */
export function weights(): Buffer {
  const { header, fileBytes } = layoutFile(allParameters(modelOf(CONFIG, "test").parameters).map((spec) => ({ ...spec, dtype: "F32" })));
  return Buffer.concat([header, Buffer.alloc(fileBytes - header.length)]);
}

export const MODEL = {
  "config.json": JSON.stringify(CONFIG),
  "tokenizer.json": "{}",
  "model.safetensors": weights(),
  "README.md": "not needed",
};

export interface Fixture {
  readonly server: TestHub;
  readonly notes: string[];
  run(config: unknown, signal?: AbortSignal): Promise<StageResult<"download">>;
}

export async function setUp(context: TestContext): Promise<Fixture> {
  const server = await startTestHub({
    ...Object.fromEntries(Object.entries(MODEL).map(([name, bytes]) => [`models/org/m/${name}`, bytes])),
    "datasets/org/d/data/rows.json": ROWS,
    "datasets/org/d/README.md": "not needed",
  });
  context.after(() => server.close());
  const notes: string[] = [];
  const run = (config: unknown, signal = new AbortController().signal): Promise<StageResult<"download">> =>
    download(dependenciesFor(server.url, server.work), requestFor(config, server.work), {
      signal,
      progress: ({ note }: Progress) => void notes.push(note ?? ""),
    });
  return { server, notes, run };
}

export const pathOf = (result: StageResult<"download">, name: string): string => fileURLToPath(outputNamed(result.outputs, name).uri);

export async function localModel(server: TestHub, files: Record<string, Uint8Array | string> = MODEL): Promise<string> {
  const directory = join(server.work, "a model");
  await mkdir(directory, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(directory, name), bytes);
  return directory;
}
