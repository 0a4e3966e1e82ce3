import type { RunConfig } from "../../core/config/schema.js";
import { keyOf } from "../../core/format/manifest.js";
import type { Override } from "../../core/stages/override.js";
import { outputNamed, type OutputName, type StageName } from "../../core/stages/results.js";
import { sha256 } from "../../infra/disk/files.js";
import type { StageInput } from "../../workflows/contract.js";

/** What decides whether a stage has to run again. */
export interface StageDefinition<Name extends StageName = StageName> {
  readonly name: Name;
  /** raised whenever the same inputs and settings would give other bytes */
  readonly version: number;
  /** the inputs that the outputs depend on */
  readonly inputs: readonly OutputName[];
  /** those of them whose bytes the stage reads; by default all */
  readonly reads?: readonly OutputName[];
  /** the part of the config that the outputs depend on, and what a person decided */
  settings(config: RunConfig, override?: Override): unknown;
}

/** Everything that a stage's outputs depend on. */
export type KeyParts = Parameters<typeof keyOf>[0];

/** Everything that the outputs of a stage depend on when it is given this input. */
export function keyParts(definition: StageDefinition, { config, inputs: given, override }: StageInput): KeyParts {
  const inputs = definition.inputs.map((name) => outputNamed(given, name)).map(({ name, sha256: digest }) => ({ name, sha256: digest }));
  return { stage: definition.name, version: definition.version, settings: definition.settings(config, override), inputs };
}

/** Digest of everything that a stage's outputs depend on: equal keys mean equal outputs. */
export function stageKey(definition: StageDefinition, input: StageInput): string {
  return keyOf(keyParts(definition, input), { sha256 });
}
