import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import type { AdapterModule, Model, TensorSource } from "../../core/model/family.js";
import { adapterTensors } from "../../core/model/lora/adapter.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, parseAdapterConfig, type AdapterConfig } from "../../core/model/lora/adapter-config.js";
import { refuseLfsPointer } from "../disk/lfs-pointer.js";
import { SafetensorsFile } from "./model-files.js";
import { readParameter } from "./read-parameter.js";
import { floatBytes } from "./weight-file.js";

/** Whether a directory holds an adapter, alone or beside its base. */
export function hasAdapter(directory: string): boolean {
  return existsSync(join(directory, ADAPTER_CONFIG));
}

/** What the adapter's config in a directory says. Throws UserError. */
export function readAdapterConfig(directory: string): AdapterConfig {
  const path = join(directory, ADAPTER_CONFIG);
  if (!existsSync(path)) throw new UserError(`an adapter's directory needs ${ADAPTER_CONFIG}`, { directory });
  refuseLfsPointer(path);
  return parseAdapterConfig(readFileSync(path, "utf8"), path);
}

/** An adapter's directory (adapter_config.json and adapter_model.safetensors), every tensor found and of the shape that its base asks for. */
export class AdapterFiles {
  readonly modules: readonly AdapterModule[];
  private readonly file: SafetensorsFile;
  /** by the parameters' names */
  private readonly sources: ReadonlyMap<string, TensorSource>;

  /** Throws UserError for an adapter that cannot be used, such as one for another base. */
  constructor(directory: string, base: Model) {
    this.modules = readAdapterConfig(directory).modulesIn(base);
    this.sources = new Map(this.modules.flatMap((module) => sourcesOf(base, module)));
    this.file = openWeights(directory);
    try {
      this.check();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private check(): void {
    const { path: file, entries } = this.file;
    const names = [...entries.keys()];
    const bare = names.find((name) => !name.startsWith("base_model.model."));
    if (bare !== undefined)
      throw new UserError("a tensor of the adapter lacks the beginning base_model.model., and PEFT would begin with random weights", {
        file,
        tensor: bare,
      });
    const other = "the adapter is for another base, or its config is another's";
    for (const { tensor, shape } of this.sources.values()) {
      const entry = entries.get(tensor);
      if (entry?.shape.join() !== shape.join())
        throw new UserError(other, {
          file,
          tensor,
          expected: `[${shape.join(",")}]`,
          got: entry === undefined ? "none" : `[${entry.shape.join(",")}]`,
        });
      floatBytes(entry.dtype, tensor, file);
    }
    const extra = names.filter((name) => !this.sources.has(name));
    if (extra.length > 0)
      throw new UserError(other, {
        file,
        tensor: extra[0],
        expected: "none",
        got: `[${entries.get(extra[0]!)!.shape.join(",")}]`,
        extra: extra.length,
      });
  }

  /** Elements [first, first + out.length) of one of the adapter's parameters, in row-major order, as fp32. Throws UserError for a value that is not finite. */
  readFloats(name: string, first: number, out: Float32Array): void {
    const source = this.sources.get(name);
    if (source === undefined) throw new Error(`an adapter has no such parameter [file=${this.file.path}, parameter=${name}]`);
    readParameter(this.file, source, first, out);
  }

  close(): void {
    this.file.close();
  }
}

/** Where the two parameters of a module lie. */
function sourcesOf({ family, shape, parameters }: Model, { module, rank }: AdapterModule): [string, TensorSource][] {
  const spec = parameters.blocks.flat().find(({ name }) => name === `${module}.weight`)!;
  const { A, B } = adapterTensors(module);
  const [out, width] = spec.shape as [number, number];
  // the rows of B would have that order, too
  if (family.source(shape, spec).row !== undefined)
    throw new UserError("an adapter of a layer whose rows have another order in the model's files is not read", { layer: module });
  return [
    [A, { tensor: A, shape: [rank, width] }],
    [B, { tensor: B, shape: [out, rank] }],
  ];
}

function openWeights(directory: string): SafetensorsFile {
  const path = join(directory, ADAPTER_WEIGHTS);
  if (!existsSync(path))
    throw new UserError(`an adapter's directory needs ${ADAPTER_WEIGHTS}: save the adapter with safe_serialization=True`, {
      directory,
      got: existsSync(join(directory, "adapter_model.bin")) ? "adapter_model.bin" : "none",
    });
  refuseLfsPointer(path);
  try {
    return new SafetensorsFile(path);
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error;
    throw new UserError(`the adapter cannot be used: ${messageOf(error)}. Get the file again`, {}, { cause: error });
  }
}
