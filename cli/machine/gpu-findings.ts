import { bytes } from "../../core/units.js";
import { findEnvironment, gpusSeen } from "../../engines/deepspeed/environment.js";
import { whyUnusable } from "../../infra/gpu/choose-gpus.js";
import { findGpus, type Gpu } from "../../infra/gpu/nvidia-smi.js";
import type { Environment } from "../../workers/environment.js";

/** One requirement: what was found, and what to do if it is not met. */
export interface Finding {
  readonly name: string;
  readonly found: string;
  /** absent: all is well */
  readonly remedy?: string;
}

/** The GPUs of this machine, and what computes on them. A machine without any is as good as one with. */
export async function gpuFindings({ variables, checkout, home }: Pick<Environment, "variables" | "checkout" | "home">): Promise<Finding[]> {
  const found = await findGpus(variables);
  const listed = "why" in found ? [{ name: "GPUs", found: `none: ${found.why}` }] : found.gpus.map(gpuFinding);
  const environment = await findEnvironment(checkout, home);
  if (environment === null) {
    const command = `roslin setup --deepspeed${found.gpus.length > 0 ? " --cuda" : ""}`;
    return [...listed, { name: "DeepSpeed", found: `not set up: ${command} makes what train.engine "deepspeed" needs` }];
  }
  const { python, versions } = environment;
  const { deepspeed, torch, transformers, nccl } = versions;
  const words = [deepspeed, `torch ${torch}`, `transformers ${transformers}`, `Python ${versions.python}`, `NCCL ${nccl ?? "none"}`];
  const deepSpeed: Finding = { name: "DeepSpeed", found: words.join(", ") };
  if (found.gpus.length === 0) return [...listed, deepSpeed];
  const seen = await gpusSeen(python, { variables, signal: AbortSignal.timeout(TORCH_MS) });
  return [...listed, deepSpeed, seenFinding(seen, found.gpus.length)];
}

/** Milliseconds that torch may take to find the GPUs. */
const TORCH_MS = 120_000;

function gpuFinding(gpu: Gpu): Finding {
  const { index, name, memory, used, driver, computeMode, eccErrors } = gpu;
  const inUse = used > 2 ** 30 ? `, ${bytes(used)} in use` : "";
  const errors = eccErrors === null ? "" : `, ${eccErrors} memory errors`;
  const found = `${name}, ${bytes(memory)}${inUse}, driver ${driver}, compute mode ${computeMode}${errors}`;
  const why = whyUnusable(gpu);
  const remedy =
    why !== null
      ? `no worker can compute on it, because ${why}: change that with nvidia-smi`
      : eccErrors !== null && eccErrors > 0
        ? "its memory has errors that could not be corrected: reset it or replace it before you train on it"
        : undefined;
  return { name: `GPU ${index}`, found, ...(remedy === undefined ? {} : { remedy }) };
}

function seenFinding({ gpus, why }: { readonly gpus: number; readonly why: string | null }, there: number): Finding {
  const found = `torch sees ${gpus} of ${there} GPUs`;
  if (gpus >= there) return { name: "torch on GPUs", found };
  const remedy = "set up with roslin setup --deepspeed --cuda, correct CUDA_VISIBLE_DEVICES, or install a newer driver";
  return { name: "torch on GPUs", found: why === null ? found : `${found} (${why})`, remedy };
}
