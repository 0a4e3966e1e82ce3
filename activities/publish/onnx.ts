import { mkdir, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { elements } from "../../core/graph/tensor.js";
import { exportGraph, type ExportPlan } from "../../core/model/export.js";
import type { WeightSpec } from "../../core/model/family.js";
import { placeFile } from "../../infra/disk/files.js";
import type { ModelFiles } from "../../infra/weights/model-files.js";

/** Elements read and written at a time. */
const SLICE = 1 << 21;

/** Writes a model's planned ONNX export into `directory`; files that an earlier attempt finished stay. Resolves to their names. */
export async function exportOnnx(model: ModelFiles, plan: ExportPlan, directory: string, signal: AbortSignal): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  for (const { name, weights } of plan.dataFiles) await writeOnce(join(directory, name), slices(model, weights), signal);
  await writeOnce(join(directory, plan.file), graph(model, plan), signal);
  return [plan.file, ...plan.dataFiles.map(({ name }) => name)];
}

/** What config.json says to transformers.js about an export with data files; null: nothing. */
export function externalDataConfig({ file, dataFiles }: ExportPlan): object | null {
  return dataFiles.length === 0 ? null : { "transformers.js_config": { use_external_data_format: { [file]: dataFiles.length } } };
}

function* graph(model: ModelFiles, plan: ExportPlan): Iterable<Uint8Array> {
  yield exportGraph(model.model, plan, (spec) => Buffer.concat([...slices(model, [spec])])).bytes;
}

function* slices(model: ModelFiles, weights: readonly WeightSpec[]): Iterable<Uint8Array> {
  for (const { name, shape } of weights) {
    const count = elements(shape);
    for (let first = 0; first < count; first += SLICE) {
      const part = new Float32Array(Math.min(SLICE, count - first));
      model.readFloats(name, first, part);
      yield new Uint8Array(part.buffer);
    }
  }
}

/** Writes a file unless it is there: it has its name only when it is whole. */
async function writeOnce(path: string, chunks: Iterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  if (await stat(path).catch(() => null)) return;
  const write = async (file: FileHandle): Promise<void> => {
    for (const chunk of chunks) {
      signal.throwIfAborted();
      await file.writeFile(chunk);
      await breathe();
    }
  };
  await placeFile(path, write, { temporary: `${path}.unfinished` });
}
