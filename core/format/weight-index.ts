import { UserError } from "../errors.js";

/**
 * Names of the weight files that a model's index lists, sorted. Throws UserError if `text` is not such an index. `file`: the
 * index's name.
 */
export function indexedFiles(text: string, file: string): string[] {
  let map: Record<string, unknown> | undefined;
  try {
    map = (JSON.parse(text) as { weight_map?: Record<string, unknown> } | null)?.weight_map;
  } catch (error) {
    throw new UserError("a model's index is not JSON", { file }, { cause: error });
  }
  const names = [...new Set(Object.values(map ?? {}))].sort();
  for (const name of names)
    if (typeof name !== "string" || !/^[^/\\]+\.(safetensors|bin)$/.test(name))
      throw new UserError("an index names something that is not a weight file in its directory", { file, got: String(name) });
  return names as string[];
}
