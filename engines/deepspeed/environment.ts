import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../../infra/disk/files.js";
import { messageOf, UserError } from "../../core/errors.js";
import { installedVersions, interpreter, makeEnvironment, type EnvironmentPlan } from "../../infra/python/environment.js";
import { runPython, type PythonError, type PythonRun } from "../../infra/python/pip.js";
import { parseRequirements, type Requirement } from "../../infra/python/requirements.js";

/** DeepSpeed's Python environment: which one this checkout wants, where it lies below ROSLIN_HOME, and how it is made. */

/** What the environment holds, as it said itself after it was made. */
export interface EngineVersions {
  readonly python: string;
  readonly torch: string;
  readonly deepspeed: string;
  readonly transformers: string;
  readonly peft: string;
  /** of CUDA, which torch was built for, and of NCCL; null: a build without */
  readonly cuda: string | null;
  readonly nccl: string | null;
}

/** An environment that is ready. */
export interface EngineEnvironment {
  /** path of its Python */
  readonly python: string;
  readonly versions: EngineVersions;
}

/** Which environment: `cuda` has what torch needs on a GPU, too. */
export interface Wanted {
  readonly checkout: string;
  readonly home: string;
  readonly cuda: boolean;
}

/** Torch has wheels for these minor versions of Python 3. */
const PYTHON = { least: 11, most: 14 };

/** What torch for Linux loads on a GPU only: without it torch imports and computes on the CPU. Everything else of NVIDIA's it is linked to. */
const GPU_ONLY = [
  "cuda-bindings",
  "cuda-pathfinder",
  "cuda-toolkit",
  "nvidia-cuda-cccl",
  "nvidia-cusolver",
  "nvidia-nvjitlink",
  "nvidia-nvtx",
  "triton",
];

/** Bytes that the environment takes on Linux while it is made; it keeps 4.3 GB, with CUDA's packages 5.7 GB. */
const LINUX_BYTES = { cpu: 5e9, cuda: 6.5e9 };
const MAC_BYTES = 2e9;

const CHECK = `
import json, platform
import torch, deepspeed, transformers, peft
assert torch.ones(2).sum().item() == 2
nccl = torch.cuda.nccl.version() if torch.version.cuda else None
print(json.dumps({"python": platform.python_version(), "torch": torch.__version__, "deepspeed": deepspeed.__version__,
    "transformers": transformers.__version__, "peft": peft.__version__, "cuda": torch.version.cuda, "nccl": ".".join(map(str, nccl)) if nccl else None}))
`;

/** The environment that this checkout's list of packages names, that with CUDA's packages first; null: it has not been set up. */
export async function findEnvironment(checkout: string, home: string): Promise<EngineEnvironment | null> {
  for (const cuda of [true, false]) {
    const { directory, name } = place({ checkout, home, cuda });
    if (!existsSync(join(directory, name))) continue;
    const versions = await installedVersions(directory, name);
    if (versions !== null) return { python: interpreter(directory, name), versions: versions as EngineVersions };
  }
  return null;
}

/** The environment, for training with it. Throws UserError with the command that makes it. */
export async function needEnvironment(checkout: string, home: string): Promise<EngineEnvironment> {
  const found = await findEnvironment(checkout, home);
  if (found === null)
    throw new UserError(
      "DeepSpeed is not set up on this machine: call roslin setup --deepspeed, on a machine with GPUs roslin setup --deepspeed --cuda",
      {
        home,
      },
    );
  return found;
}

/** Makes the environment unless it is there; `say` hears what takes a while. Throws UserError with what to do. */
export async function setUpEnvironment(wanted: Wanted, say: (line: string) => void, run: PythonRun): Promise<EngineEnvironment> {
  if (wanted.cuda && process.platform !== "linux")
    throw new UserError("CUDA's packages exist for Linux alone: call roslin setup --deepspeed without --cuda");
  if (!wanted.cuda) {
    const there = await findEnvironment(wanted.checkout, wanted.home);
    if (there !== null) return there;
  }
  const { directory, name, list } = place(wanted);
  const plan: EnvironmentPlan = {
    title: wanted.cuda ? "DeepSpeed with CUDA" : "DeepSpeed",
    python: PYTHON,
    directory,
    name,
    packages: parseRequirements(list).filter((each) => isForThis(each) && (wanted.cuda || !GPU_ONLY.includes(each.name))),
    built: ["deepspeed"],
    large: (each) => each === "torch" || each === "triton" || each.startsWith("nvidia-"),
    // its operators are compiled where they are used, if at all
    buildVariables: { DS_BUILD_OPS: "0" },
    bytes: process.platform === "linux" ? LINUX_BYTES[wanted.cuda ? "cuda" : "cpu"] : MAC_BYTES,
    check: CHECK,
  };
  const versions = (await makeEnvironment(plan, say, run)) as EngineVersions;
  return { python: interpreter(directory, name), versions };
}

const SEEN = `
import json, torch
why = None
try:
    torch.cuda.init()
except Exception as error:
    why = str(error).splitlines()[0]
print(json.dumps({"gpus": torch.cuda.device_count() if why is None else 0, "why": why}))
`;

/** How many GPUs torch can compute on, and why none if it says so. Never throws. */
export async function gpusSeen(python: string, run: PythonRun): Promise<{ readonly gpus: number; readonly why: string | null }> {
  try {
    const said = await runPython(python, ["-c", SEEN], run);
    return JSON.parse(said.trim().split("\n").at(-1)!) as { gpus: number; why: string | null };
  } catch (error) {
    const last = ((error as PythonError).stderr ?? "").trim().split("\n").at(-1)!;
    return { gpus: 0, why: last === "" ? messageOf(error) : last };
  }
}

/** Whether a package is for this operating system: pip would leave out one for another, and fail where it is asked for nothing else. */
function isForThis({ text }: Requirement): boolean {
  const [, system] = / ; .*\bsys_platform == '(\w+)'/.exec(text) ?? [];
  return system === undefined || system === process.platform;
}

/** Where an environment lies: its name is a digest of the list of packages, so a checkout with another list has another one. */
function place({ checkout, home, cuda }: Wanted): { readonly directory: string; readonly name: string; readonly list: string } {
  const list = readFileSync(join(checkout, "engines", "deepspeed", "requirements.lock"), "utf8");
  return { directory: join(home, "engines", "deepspeed"), name: `${sha256(list).slice(0, 16)}${cuda ? "-cuda" : ""}`, list };
}
