import { join } from "node:path";
import { ENGINE_VERSIONS } from "../../core/config/engines.js";
import { clearAttemptFiles } from "../../infra/process/attempt-files.js";
import type { TrainingEngine } from "../engine.js";
import type { EngineEnvironment } from "./environment.js";
import { activationBytes, layerSeconds, trainingNeeds } from "./needs.js";
import { wireParameters, type DeepSpeedSetup } from "./orders.js";
import { startProcess } from "./rank-process.js";

/**
 * Training with DeepSpeed ZeRO 3: each rank computes in a Python process of its own, on a GPU where torch sees one and on
 * the CPU otherwise. Weights, gradients and moments are cut over the ranks, so the bits depend on their number.
 */

/** The program, beside this file's source; it is not compiled. */
const PROGRAM = join(import.meta.dirname, "..", "..", "..", "engines", "deepspeed", "rank");

/** Activations are kept where training then still leaves a good part of the free memory to others. */
const KEEP_WITHIN = 0.6;

/** How long a collective waits at least: a frozen rank is known within a minute. */
const LEAST_TIMEOUT_SECONDS = 45;

/**
 * The engine `deepspeed`, with what finds its environment on this machine. `program`: the Python program of a rank; `device`:
 * the name of the GPU that this process was given, null for the CPU.
 */
export function deepSpeedEngine(
  environment: () => Promise<EngineEnvironment>,
  { program = PROGRAM, device = null }: { readonly program?: string; readonly device?: string | null } = {},
): TrainingEngine<DeepSpeedSetup> {
  return {
    name: "deepspeed",
    version: ENGINE_VERSIONS.deepspeed,

    async libraries(ranks, { offload, method }) {
      const { python, torch, deepspeed, transformers, peft } = (await environment()).versions;
      // a GPU rounds AdamW's steps in ways of its own; where weights wait until they are needed changes no bit
      const adamw = offload.optimizer === "none" ? {} : { adamw: "cpu" };
      const adapters = method === "lora" ? { peft } : {};
      return {
        python,
        torch,
        deepspeed,
        transformers,
        ...adapters,
        threadsPerRank: 1,
        ranks,
        ...adamw,
        ...(device !== null && { device }),
      };
    },

    async check() {
      await environment();
    },

    needs(model, train, capacity, ranks) {
      // one that cannot be trained is refused where its needs are asked for: before anything is downloaded
      wireParameters(model);
      return trainingNeeds(model, train, capacity, ranks);
    },

    begin({ model, train, capacity, ranks, machine, prefix }) {
      const { kept } = activationBytes(model, train, capacity.shardTokens);
      const most = trainingNeeds(model, train, capacity, ranks).memoryBytes + ranks * kept;
      return {
        keepActivations: most < KEEP_WITHIN * machine.availableMemory(),
        prefix,
        timeoutSeconds: Math.max(LEAST_TIMEOUT_SECONDS, Math.ceil(layerSeconds(model, capacity.shardTokens))),
      };
    },

    prepare: () => Promise.resolve(),

    unlink: () => undefined,

    start: (rank, hear) => startProcess(environment, program, rank, hear),

    clear: (_machine, directory, prefix, before) => clearAttemptFiles(directory, prefix, before),
  };
}
