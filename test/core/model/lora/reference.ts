import { readFileSync } from "node:fs";
import { join } from "node:path";
import { LORA_DEFAULTS, type LoraSettings } from "../../../../core/config/lora.js";
import { REFERENCE } from "../reference.js";

/** PEFT's figures for adapters on small bases, each case a directory that test/reference/lora.py tells of. */
export const CASES: string = join(REFERENCE, "lora");

/** A case's figures, and PEFT's settings of it. */
export interface LoraReference {
  readonly base: string;
  readonly dtype: string;
  readonly lora: {
    readonly r: number;
    readonly lora_alpha: number;
    readonly target_modules: string | string[];
    readonly use_rslora?: boolean;
    readonly rank_pattern?: Record<string, number>;
    readonly alpha_pattern?: Record<string, number>;
  };
  readonly train: object;
  readonly loss: number;
  readonly training_losses: readonly number[];
  readonly gradient_norms_before_clipping: readonly number[];
  readonly modules: Readonly<Record<string, { readonly r: number; readonly alpha: number; readonly scaling: number }>>;
}

/** Reads a case, and its settings as `train.lora` has them. */
export function loraReference(name: string): {
  readonly directory: string;
  readonly expected: LoraReference;
  readonly settings: LoraSettings;
} {
  const directory = join(CASES, name);
  const expected = JSON.parse(readFileSync(join(directory, "expected.json"), "utf8")) as LoraReference;
  const { r: rank, lora_alpha: alpha, target_modules: targets, use_rslora, rank_pattern, alpha_pattern } = expected.lora;
  const patterns = { rankPattern: rank_pattern ?? {}, alphaPattern: alpha_pattern ?? {} };
  return { directory, expected, settings: { ...LORA_DEFAULTS, rank, alpha, targets, rsLora: use_rslora ?? false, ...patterns } };
}
