import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Client } from "@temporalio/client";
import type { RunConfig } from "../../core/config/schema.js";
import { resultNamed } from "../../core/stages/results.js";
import { makeDemoAssets } from "../../demo/assets.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import { choosePorts } from "../../infra/servers/ports.js";
import { httpStatus, type Service } from "../../infra/servers/service.js";
import { openStore } from "../../infra/store/open-store.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { FINETUNE, TASK_QUEUE } from "../../workflows/contract.js";
import { withClient } from "../../workers/client.js";
import type { Command } from "../shell/command.js";
import { demoRunConfig } from "../shell/demo-config.js";
import { demoSummary } from "../show/demo-summary.js";
import type { Environment } from "../../workers/environment.js";
import { follow } from "../show/follow.js";
import { GPU_WORKERS, planMachine, type Machine } from "../machine/local-machine.js";
import { progressView } from "../show/progress-bars.js";
import { runMachine } from "../machine/run-local-machine.js";

const say = (line: string): void => console.error(`roslin: ${line}`);

/** `roslin demo`: the whole pipeline, small, on servers of its own. */
export const demo: Command = {
  name: "demo",
  summary: "run the whole pipeline on servers of its own, with a small model and dataset made for it",
  usage: "demo [--dataset FILE] [--model DIR]",
  async run(args, environment) {
    const { values } = parseArgs({ args: [...args], options: { dataset: { type: "string" }, model: { type: "string" } } });
    const config = await demoRunConfig(values.dataset, values.model);
    const since = performance.now();
    const own = await demoEnvironment(environment);
    let tidied: Promise<void> | undefined;
    await runMachine(
      own.home,
      async (signal) => {
        await (tidied ??= forgetOtherRun(own.home, runId(config)));
        return planDemo(own, signal);
      },
      say,
      async (machine, signal) => {
        const ui = `${machine.temporal!.uiAddress}/namespaces/default/workflows/${runId(config)}`;
        console.log(`Eight GPU workers, Temporal, S3 and a hub are up. Watch the run at ${ui}`);
        const variables = machine.variables;
        const summary = await withClient(variables, async (client) => {
          await startRun(client, config);
          const result = await follow(client, runId(config), progressView(process.stdout), signal);
          const target = resultNamed(result.stages, "publish")!.metrics.target!;
          const objects = await openStore(target, s3SettingsOf(variables)).list("");
          return demoSummary(result, (performance.now() - since) / 1000, objects, target);
        });
        await rm(join(own.home, RUN), { force: true });
        console.log(
          `\n${summary}\n\nWeb UI      ${ui}\n  (everything stops now; ROSLIN_HOME=${own.home} npx --no roslin up serves it again)`,
        );
      },
    );
    return 0;
  },
};

/** The file that names the run in the demo's home; removed when the run has finished. */
const RUN = "run.json";

function runId(config: RunConfig): string {
  return `demo-${sha256(JSON.stringify(config)).slice(0, 8)}`;
}

/** The demo's environment: a home of its own below the user's, without the user's settings of other servers. */
async function demoEnvironment(environment: Environment): Promise<Environment> {
  const home = join(environment.home, "demo");
  await mkdir(environment.tools, { recursive: true });
  await mkdir(home, { recursive: true });
  // so that `up` in this home finds them, too
  if (!existsSync(join(home, "tools"))) await symlink("../tools", join(home, "tools"));
  const own = Object.entries(environment.variables).filter(
    ([name]) => !/^(AWS_|HF_|HUGGING|TRANSFORMERS_OFFLINE$|ROSLIN_|TEMPORAL_(?!CLI_PATH$))/.test(name),
  );
  // a proxy cannot reach the demo's own hub; fetching servers may need it
  const except = [environment.hub.proxy.except, "127.0.0.1", "localhost"].filter((host) => host !== "").join(",");
  const variables = { ...Object.fromEntries(own), NO_PROXY: except, no_proxy: except };
  return { ...environment, home, s3: "local", bucket: "roslin", externalTemporal: false, variables };
}

/** Makes the hub's files, and puts the demo's hub in front of the usual machine. */
async function planDemo(environment: Environment, signal: AbortSignal): Promise<Machine> {
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

/** Lets an interrupted demo go on; otherwise clears its home, so that every stage runs. The hub's files and the ports stay. */
async function forgetOtherRun(home: string, id: string): Promise<void> {
  const file = join(home, RUN);
  if (existsSync(file) && (await readFile(file, "utf8")) === id) return say("going on with the demo that was interrupted");
  const kept = ["hub", "tools", "ports.json", "up.lock", RUN];
  for (const name of await readdir(home)) if (!kept.includes(name)) await rm(join(home, name), { recursive: true });
  await writeFileAtomic(file, id);
}

/** Starts a run like `temporal workflow start --type finetune --task-queue roslin`, or goes on with the run of an interrupted demo. */
async function startRun(client: Client, config: RunConfig): Promise<void> {
  await client.workflow.start(FINETUNE, {
    taskQueue: TASK_QUEUE,
    workflowId: runId(config),
    args: [config],
    workflowIdConflictPolicy: "USE_EXISTING",
    workflowIdReusePolicy: "ALLOW_DUPLICATE",
    staticSummary: "the demo",
  });
}
