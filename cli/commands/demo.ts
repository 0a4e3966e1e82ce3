import { rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import type { Client } from "@temporalio/client";
import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { PAGE } from "../../core/format/manifest.js";
import { resultNamed } from "../../core/stages/results.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import { openStore } from "../../infra/store/open-store.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { readAll, type ObjectStore } from "../../infra/store/store.js";
import { FINETUNE, TASK_QUEUE } from "../../workflows/contract.js";
import { withClient } from "../../workers/client.js";
import type { Environment } from "../../workers/environment.js";
import { checkHubRows, DEMO_RUN, demoEnvironment, fetchRealBase, forgetOtherRun, planDemo, realBasePath } from "../machine/demo-machine.js";
import { GPU_WORKERS, planMachine, type Machine } from "../machine/local-machine.js";
import { runMachine } from "../machine/run-local-machine.js";
import type { Command } from "../shell/command.js";
import { demoRunConfig, realRunConfig } from "../shell/demo-config.js";
import { demoSummary } from "../show/demo-summary.js";
import { follow } from "../show/follow.js";
import { progressView } from "../show/progress-bars.js";

const say = (line: string): void => console.error(`roslin: ${line}`);

/** One of the demos: what it runs, and where. */
interface Demo {
  readonly config: RunConfig;
  readonly environment: Environment;
  /** what its servers are, in a sentence's subject */
  readonly servers: string;
  /** how many answers its summary shows */
  readonly answers: number;
  /** whether a finished run is kept, so that the next one with the same settings finds every stage done */
  readonly keeps: boolean;
  /** Fetches what comes from elsewhere. */
  fetch(signal: AbortSignal): Promise<void>;
  plan(signal: AbortSignal): Promise<Machine>;
}

/** `roslin demo`: the whole pipeline, small, on servers of its own. */
export const demo: Command = {
  name: "demo",
  summary: "run the whole pipeline on servers of its own, with a small model and dataset made for it, or with a real model",
  usage: `demo [--dataset FILE] [--model DIR]
       roslin demo --real [--rows FILE]
--real tunes SmolLM2-135M-Instruct by LoRA on rows in Alpaca's format: FILE's, or the hub's`,
  async run(args, environment) {
    const options = {
      dataset: { type: "string" },
      model: { type: "string" },
      real: { type: "boolean" },
      rows: { type: "string" },
    } as const;
    const { values } = parseArgs({ args: [...args], options });
    const since = performance.now();
    const chosen = values.real === true ? await realDemo(values, environment) : await madeDemo(values, environment);
    await runDemo(chosen, since);
    return 0;
  },
};

interface Given {
  readonly dataset?: string;
  readonly model?: string;
  readonly rows?: string;
}

async function madeDemo({ dataset, model, rows }: Given, environment: Environment): Promise<Demo> {
  if (rows !== undefined)
    throw new UserError("--rows belongs to --real: give --real as well, or name the file by --dataset", { got: rows });
  const config = await demoRunConfig(dataset, model);
  const own = await demoEnvironment(environment, "demo", false);
  return {
    config,
    environment: own,
    servers: "Eight GPU workers, Temporal, S3 and a hub",
    answers: 2,
    keeps: false,
    fetch: () => Promise.resolve(),
    plan: (signal) => planDemo(own, say, signal),
  };
}

async function realDemo({ dataset, model, rows }: Given, environment: Environment): Promise<Demo> {
  if (dataset !== undefined || model !== undefined)
    throw new UserError("--real brings its model, and takes rows by --rows FILE: leave --dataset and --model out");
  const config = await realRunConfig(realBasePath(environment), rows);
  const own = await demoEnvironment(environment, "demo-real", rows === undefined);
  return {
    config,
    environment: own,
    servers: "Eight GPU workers, Temporal and S3",
    answers: config.evaluate.generateSamples,
    keeps: true,
    async fetch(signal) {
      if (rows === undefined) await checkHubRows(environment, signal);
      await fetchRealBase(environment, say, signal);
    },
    plan: (signal) => planMachine(own, GPU_WORKERS, say, signal),
  };
}

/** Runs a demo to its end and prints what came of it; `since`: when it was called. */
async function runDemo({ config, environment, servers, answers, keeps, ...made }: Demo, since: number): Promise<void> {
  const { home } = environment;
  const id = runId(config);
  let ready: Promise<void> | undefined;
  await runMachine(
    home,
    async (signal) => {
      const kept = keeps ? "the last demo with these settings" : "the demo that was interrupted";
      // once, because the start may be tried again at other ports
      await (ready ??= (async () => {
        await made.fetch(signal);
        await forgetOtherRun(home, id, () => say(`going on with ${kept}`));
      })());
      return made.plan(signal);
    },
    say,
    async (machine, signal) => {
      const ui = `${machine.temporal!.uiAddress}/namespaces/default/workflows/${id}`;
      console.log(`${servers} are up. Watch the run at ${ui}`);
      const { variables } = machine;
      const summary = await withClient(variables, async (client) => {
        await startRun(client, config);
        const result = await follow(client, id, progressView(process.stdout), signal);
        const { target, version } = resultNamed(result.stages, "publish")!.metrics as { readonly target: string; readonly version: string };
        const store = openStore(target, s3SettingsOf(variables));
        const published = { target, objects: await store.list(""), report: await keepReport(store, version, home) };
        return demoSummary(result, (performance.now() - since) / 1000, published, answers);
      });
      if (!keeps) await rm(join(home, DEMO_RUN), { force: true });
      console.log(`\n${summary}\n\nWeb UI      ${ui}\n  (everything stops now; ROSLIN_HOME=${home} npx --no roslin up serves it again)`);
    },
  );
}

/** Copies the published report to where a browser finds it when the servers have stopped; its address. */
async function keepReport(store: ObjectStore, name: string, home: string): Promise<string | null> {
  const page = await readAll(store, `${name}/${PAGE}`);
  if (page === null) return null;
  const path = join(home, PAGE);
  await writeFileAtomic(path, page);
  return pathToFileURL(path).href;
}

function runId(config: RunConfig): string {
  return `demo-${sha256(JSON.stringify(config)).slice(0, 8)}`;
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
