import { execFile, type ExecFileException } from "node:child_process";

/** The NVIDIA GPUs of this machine, as the driver's own tool lists them. */

/** One GPU. */
export interface Gpu {
  /** its number on this machine */
  readonly index: number;
  /** its name for good, which CUDA_VISIBLE_DEVICES takes: "GPU-" and a UUID */
  readonly uuid: string;
  /** such as "NVIDIA A100-SXM4-80GB" */
  readonly name: string;
  /** bytes */
  readonly memory: number;
  readonly used: number;
  readonly driver: string;
  /** "Default", "Exclusive_Process" or "Prohibited" */
  readonly computeMode: string;
  /** memory errors since the driver was loaded that could not be corrected; null: the GPU does not count them */
  readonly eccErrors: number | null;
  /** whether it is cut into instances (MIG), which have names of their own */
  readonly mig: boolean;
}

/** The GPUs; or why there are none to be seen, in a few words. */
export type FoundGpus = { readonly gpus: readonly Gpu[] } | { readonly gpus: readonly []; readonly why: string };

const FIELDS = [
  "index",
  "uuid",
  "name",
  "memory.total",
  "memory.used",
  "driver_version",
  "compute_mode",
  "ecc.errors.uncorrected.volatile.total",
  "mig.mode.current",
];

/** Milliseconds that the tool may take: a driver that starts answers after seconds, one that hangs never. */
const TIMEOUT_MS = 20_000;

/** Asks nvidia-smi, which is looked for on the PATH of `variables`. Never throws. */
export async function findGpus(variables: Readonly<Record<string, string | undefined>>): Promise<FoundGpus> {
  const args = [`--query-gpu=${FIELDS.join(",")}`, "--format=csv,noheader,nounits"];
  return await new Promise((resolve) => {
    execFile("nvidia-smi", args, { env: variables, timeout: TIMEOUT_MS, killSignal: "SIGKILL" }, (error, stdout, stderr) => {
      resolve(error === null ? listed(stdout) : { gpus: [], why: whyNone(error, `${stdout}\n${stderr}`) });
    });
  });
}

function listed(text: string): FoundGpus {
  const gpus = parseGpus(text);
  return gpus === null ? { gpus: [], why: `nvidia-smi says what cannot be read: ${firstLine(text)}` } : { gpus };
}

/** The GPUs in nvidia-smi's table of `FIELDS`, comma-separated, memory in MiB; null: it is something else. */
export function parseGpus(text: string): Gpu[] | null {
  const gpus: Gpu[] = [];
  for (const line of text.split("\n").filter((each) => each.trim() !== "")) {
    const cells = line.split(",").map((cell) => cell.trim());
    const [index, uuid, name, memory, used, driver, computeMode, ecc, mig] = cells;
    if (cells.length !== FIELDS.length || !/^\d+$/.test(index!) || !uuid!.startsWith("GPU-") || !/^\d+$/.test(memory!)) return null;
    gpus.push({
      index: Number(index),
      uuid: uuid!,
      name: name!,
      memory: Number(memory) * 2 ** 20,
      used: (Number(used) || 0) * 2 ** 20,
      driver: driver!,
      computeMode: computeMode!,
      // "[N/A]" or "[Not Supported]" where the GPU has none
      eccErrors: /^\d+$/.test(ecc!) ? Number(ecc) : null,
      mig: mig === "Enabled",
    });
  }
  return gpus;
}

function whyNone(error: ExecFileException, said: string): string {
  if (error.code === "ENOENT") return "nvidia-smi is not on PATH: no NVIDIA driver is installed here";
  if (error.killed === true) return `nvidia-smi does not answer within ${TIMEOUT_MS / 1000} s: the driver hangs`;
  if (said.includes("No devices were found")) return "the driver finds no GPU";
  return `nvidia-smi fails: ${firstLine(said)}`;
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0]!.slice(0, 200);
}

/** The GPUs that CUDA_VISIBLE_DEVICES leaves of these, in its order: numbers, or UUIDs and their beginnings; unset: all. As CUDA does, it stops at the first that it does not know. */
export function visibleGpus(gpus: readonly Gpu[], visible: string | undefined): readonly Gpu[] {
  if (visible === undefined) return gpus;
  const chosen: Gpu[] = [];
  for (const name of visible.split(",").map((each) => each.trim())) {
    const found = /^\d+$/.test(name)
      ? gpus.filter(({ index }) => index === Number(name))
      : gpus.filter(({ uuid }) => name !== "" && uuid.startsWith(name));
    if (found.length !== 1 || chosen.includes(found[0]!)) break;
    chosen.push(found[0]!);
  }
  return chosen;
}
