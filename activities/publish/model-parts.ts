import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSource } from "../../core/config/source-ref.js";
import { planExport, type ExportLimits } from "../../core/model/export.js";
import type { AdapterModule, Model } from "../../core/model/family.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, type NamedBase } from "../../core/model/lora/adapter-config.js";
import type { Artifact } from "../../core/stages/results.js";
import { AdapterFiles, hasAdapter } from "../../infra/weights/adapter-files.js";
import { ModelFiles } from "../../infra/weights/model-files.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import { writeMerged } from "./merge.js";
import { exportOnnx, externalDataConfig } from "./onnx.js";

/** Which files a tuned model is published as: its own with an ONNX export, a PEFT adapter's alone, or those of its base with the adapter merged. */

/** Directory of the ONNX export, in the stage's own and among the published files. */
export const ONNX = "onnx";
/** Directory of merged weights in the stage's own. */
export const MERGED = "merged";

/** What is published of a tuned model besides the files that training left. */
export interface ModelParts {
  readonly model: Model;
  /** absent: a whole model was trained */
  readonly adapter?: { readonly modules: readonly AdapterModule[]; readonly merged: boolean };
  /** paths of what was made here, by their published names */
  readonly made: ReadonlyMap<string, string>;
  /** texts of what is published with something added, by their names */
  readonly texts: ReadonlyMap<string, string>;
  /** of training's files those that are not published */
  readonly left: readonly string[];
}

interface Making {
  /** directories: the base, what training left, and the stage's own */
  readonly base: string;
  readonly tuned: string;
  readonly directory: string;
  readonly limits: ExportLimits;
  readonly signal: AbortSignal;
  say(note: string): void;
}

/** Makes what is published of a model that is whole. */
async function wholeModel({ tuned, directory, limits, signal, say }: Omit<Making, "base">): Promise<ModelParts> {
  say("writing the ONNX export");
  const weights = new ModelFiles(tuned);
  const { model } = weights;
  const plan = planExport(model, limits);
  const names = await exportOnnx(weights, plan, join(directory, ONNX), signal).finally(() => weights.close());
  const made = new Map(names.map((name) => [`${ONNX}/${name}`, join(directory, ONNX, name)]));
  const extra = externalDataConfig(plan);
  const texts = new Map(extra === null ? [] : [["config.json", `${JSON.stringify({ ...model.configJson, ...extra }, null, 2)}\n`]]);
  return { model, made, texts, left: [] };
}

/** Makes what is published of an adapter: its config names the base as others find it. */
async function adapterAlone({ tuned }: Pick<Making, "tuned">, base: Artifact): Promise<ModelParts> {
  const model = readModelConfig(tuned);
  const files = new AdapterFiles(tuned, model);
  files.close();
  const { name, revision } = publicBase(base);
  const config = JSON.parse(await readFile(join(tuned, ADAPTER_CONFIG), "utf8")) as object;
  const named = `${JSON.stringify({ ...config, base_model_name_or_path: name, revision }, null, 2)}\n`;
  const texts = new Map(name === null ? [] : [[ADAPTER_CONFIG, named]]);
  return { model, adapter: { modules: files.modules, merged: false }, made: new Map(), texts, left: [] };
}

/** Makes a whole model of a base and an adapter. */
async function mergedModel({ base, tuned, directory, ...rest }: Making): Promise<ModelParts> {
  const target = join(directory, MERGED);
  await mkdir(target, { recursive: true });
  const files = new ModelFiles(base);
  const adapter = new AdapterFiles(tuned, files.model);
  let names: string[];
  try {
    names = await writeMerged(files, adapter, target, rest);
  } finally {
    adapter.close();
    files.close();
  }
  await copyFile(join(tuned, "config.json"), join(target, "config.json"));
  const whole = await wholeModel({ tuned: target, directory, ...rest });
  const made = new Map([...whole.made, ...names.map((name) => [name, join(target, name)] as const)]);
  return { ...whole, adapter: { modules: adapter.modules, merged: true }, made, left: [ADAPTER_CONFIG, ADAPTER_WEIGHTS] };
}

/** Makes what is published of what training left; `base`: the artifact that it was trained on. */
export async function modelParts(making: Making, base: Artifact, merge: boolean): Promise<ModelParts> {
  if (!hasAdapter(making.tuned)) return await wholeModel(making);
  return merge ? await mergedModel(making) : await adapterAlone(making, base);
}

/** The base of a model as its source says it to others: a repository of the hub at a commit, or an address; a path is nobody's business. */
export function publicBase({ origin }: Pick<Artifact, "origin">): NamedBase {
  const uri = origin?.base?.uri ?? origin?.uri;
  if (uri?.includes("://") !== true || uri.startsWith("file:")) return { name: null, revision: null };
  const ref = parseSource(uri);
  // under the repository's own name others would get its safetensors, which have other weights
  const gguf = (origin?.base ?? origin)?.gguf;
  if (ref.kind === "hub" && gguf !== undefined) return { name: `hf://${ref.id}@${ref.revision}/${gguf.file}`, revision: null };
  return ref.kind === "hub" ? { name: ref.id, revision: ref.revision } : { name: uri, revision: null };
}
