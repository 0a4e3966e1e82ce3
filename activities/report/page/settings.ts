import { basename } from "node:path";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";

/** One setting of a run. */
export interface Setting {
  /** with dots: `train.learningRate` */
  readonly name: string;
  /** as JSON */
  readonly value: string;
  readonly isDefault: boolean;
}

/** Every setting of a run, in the order in which the configuration is documented. */
export function settingsOf(config: RunConfig): Setting[] {
  const usual = new Map(settingLeaves(parseRunConfig({})));
  const { target } = config.publish;
  const hidden = { sign: undefined, kmsKeyId: undefined, tags: undefined };
  // with another key, and in another directory of a machine, the same bytes are published; how a bucket keeps them is nobody's business
  const published = { ...config.publish, ...hidden, target: target?.startsWith("file:") === true ? "a directory" : target };
  return settingLeaves({ ...config, publish: published })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ({
      name,
      value: JSON.stringify(shown(value)),
      isDefault: JSON.stringify(value) === JSON.stringify(usual.get(name)),
    }));
}

/** Every field by its path; empty objects and lists are fields. */
export function settingLeaves(value: unknown, path = ""): [name: string, value: unknown][] {
  const isInner = typeof value === "object" && value !== null && !Array.isArray(value) && (path === "" || Object.keys(value).length > 0);
  if (!isInner) return [[path, value]];
  return Object.entries(value).flatMap(([name, each]) => settingLeaves(each, path === "" ? name : `${path}.${name}`));
}

/** Without the directories of this machine, which are nobody's business. */
function shown(value: unknown): unknown {
  if (typeof value === "string") return /^(file:)?\//.test(value) ? `…/${basename(value)}` : value;
  if (Array.isArray(value)) return value.map(shown);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shown(each)]));
}
