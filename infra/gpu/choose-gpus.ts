import { UserError } from "../../core/errors.js";
import { findGpus, visibleGpus, type FoundGpus, type Gpu } from "./nvidia-smi.js";

/** Which GPU each worker gets. */

/** A GPU as a worker's process is told of it. */
export interface Device {
  readonly uuid: string;
  readonly name: string;
  /** bytes */
  readonly memory: number;
}

/** The variable that tells a worker its device, as JSON. */
const DEVICE = "ROSLIN_GPU";

type Variables = Readonly<Record<string, string | undefined>>;

/** One GPU for each of `wanted` workers, or all that CUDA_VISIBLE_DEVICES allows (null). Throws UserError that names what was found. */
export async function chooseGpus(
  variables: Variables,
  wanted: number | null,
  find: (variables: Variables) => Promise<FoundGpus> = findGpus,
): Promise<readonly Gpu[]> {
  const found = await find(variables);
  if ("why" in found)
    throw new UserError("there are no GPUs to start workers on: leave out --gpus to compute on the CPU", { got: found.why });
  const visible = variables["CUDA_VISIBLE_DEVICES"];
  const allowed = visibleGpus(found.gpus, visible);
  const limit = visible === undefined ? {} : { CUDA_VISIBLE_DEVICES: visible };
  if (allowed.length === 0)
    throw new UserError("there are no GPUs to start workers on: leave out --gpus to compute on the CPU", {
      found: names(found.gpus),
      ...limit,
    });
  const usable = allowed.filter((gpu) => whyUnusable(gpu) === null);
  const count = wanted ?? allowed.length;
  if (usable.length < count)
    throw new UserError(`too few GPUs for ${count} workers, one each: ask for fewer with --workers, or correct what is in the way`, {
      found: names(allowed),
      ...limit,
    });
  return usable.slice(0, count);
}

function names(gpus: readonly Gpu[]): string {
  if (gpus.length === 0) return "none";
  return gpus
    .map((gpu) => {
      const why = whyUnusable(gpu);
      return `GPU ${gpu.index} ${gpu.name}${why === null ? "" : ` (${why})`}`;
    })
    .join(", ");
}

/** Why no worker can compute on a GPU; null: one can. */
export function whyUnusable({ computeMode, mig }: Gpu): string | null {
  if (computeMode === "Prohibited") return "its compute mode is Prohibited";
  // ranks on instances of one GPU cannot reach each other by NCCL
  return mig ? "it is cut into MIG instances" : null;
}

/** The variables of a worker's process that computes on this GPU; null: on the CPU, and it sees no GPU. */
export function deviceVariables(gpu: Gpu | null): Readonly<Record<string, string>> {
  if (gpu === null) return { CUDA_VISIBLE_DEVICES: "", [DEVICE]: "" };
  const { uuid, name, memory } = gpu;
  return { CUDA_VISIBLE_DEVICES: uuid, [DEVICE]: JSON.stringify({ uuid, name, memory } satisfies Device) };
}

/** The device that this process was given; null: it computes on the CPU. */
export function ownDevice(variables: Variables): Device | null {
  const text = variables[DEVICE] ?? "";
  return text === "" ? null : (JSON.parse(text) as Device);
}
