import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { deepSpeedEngine } from "../../../engines/deepspeed/deepspeed-engine.js";
import { needEnvironment, type EngineEnvironment, type EngineVersions } from "../../../engines/deepspeed/environment.js";
import type { DeepSpeedSetup } from "../../../engines/deepspeed/orders.js";
import type { TrainingEngine } from "../../../engines/engine.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";

/** The engine `deepspeed` as tests have it: a step may be deadly, and ROSLIN_DEEPSPEED_PYTHON may name another Python. */

const VERSIONS = `
import json, platform
from importlib.metadata import version
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in ("torch", "deepspeed", "transformers", "peft")}}))
`;

/** The environment that tests take. Throws UserError where none is set up. */
export async function testEnvironment(): Promise<EngineEnvironment> {
  const python = process.env["ROSLIN_DEEPSPEED_PYTHON"];
  if (python === undefined) return needEnvironment(CHECKOUT, readEnvironment(process.env, CHECKOUT).home);
  return { python, versions: JSON.parse(execFileSync(python, ["-I", "-c", VERSIONS], { encoding: "utf8" })) as EngineVersions };
}

const PROGRAM = join(CHECKOUT, "test", "engines", "deepspeed", "deadly");

export const testDeepSpeed: TrainingEngine<DeepSpeedSetup> = deepSpeedEngine(testEnvironment, { program: PROGRAM });
