import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { parseModelConfig } from "../../core/model/families.js";
import { refuseLfsPointer } from "../disk/lfs-pointer.js";
import type { Model, ModelFamily } from "../../core/model/family.js";

/** The model that a directory's config.json describes; its weights are not looked at. Throws UserError. */
export function readModelConfig(directory: string, families?: readonly ModelFamily[]): Model {
  const path = join(directory, "config.json");
  if (!existsSync(path)) throw new UserError("a model directory needs config.json", { directory });
  refuseLfsPointer(path);
  return parseModelConfig(readFileSync(path, "utf8"), path, families);
}
