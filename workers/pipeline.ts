import { existsSync } from "node:fs";
import { Worker } from "@temporalio/worker";
import { CHECKOUT, readEnvironment, type Environment } from "./environment.js";
import { plan } from "../activities/plan/index.js";
import { UserError } from "../core/errors.js";
import { TASK_QUEUE, type PipelineActivities } from "../workflows/contract.js";
import { BUNDLE, bundleWorkflows } from "./bundle.js";
import { connectTemporal, stopWorker, type Temporal } from "./connect.js";
import { inActivity } from "./context.js";
import { essentials } from "./essentials.js";
import { awaitIdle } from "./lease.js";
import { pausedActivities } from "./pause.js";
import { planDependencies } from "./place.js";
import { endOrphans, workerIdentity } from "./predecessor.js";
import { makeStages, type Stages } from "./stages.js";
import { clearUploads } from "./uploads.js";

/** The pipeline worker: workflows, and every activity but training's ranks, on the queue `roslin`. */

const NAME = "pipeline";

function pipelineActivities(environment: Environment, temporal: Temporal, stages: Stages): PipelineActivities {
  const root = stages.root;
  return {
    plan: (config) => inActivity((context) => plan(planDependencies(environment, temporal, stages), config, context)),
    download: (input) => inActivity(async (context) => essentials(await stages.download({ ...input, root }, context))),
    preprocess: (input) => inActivity(async (context) => essentials(await stages.preprocess({ ...input, root }, context))),
    beginTraining: ({ workers, ...input }) =>
      inActivity(async (context) => {
        const begun = await stages.beginTraining({ ...input, root }, workers, context);
        return "finished" in begun ? { finished: essentials(begun.finished) } : begun;
      }),
    finishTraining: (input) =>
      inActivity(async (context) => {
        const result = await stages.finishTraining({ ...input, root }, context);
        return result === null ? null : essentials(result);
      }),
    evaluate: (input) => inActivity(async (context) => essentials(await stages.evaluate({ ...input, root }, context))),
    publish: (input) => inActivity(async (context) => essentials(await stages.publish({ ...input, root }, context))),
    awaitIdle: (holder) => awaitIdle(temporal.client, holder),
    pausedActivities: () => pausedActivities(temporal.client),
  };
}

async function main(): Promise<void> {
  const environment = readEnvironment(process.env, CHECKOUT);
  const temporal = await connectTemporal(environment.variables);
  const stages = makeStages(environment);
  const worker = await Worker.create({
    connection: temporal.connection,
    namespace: temporal.namespace,
    identity: workerIdentity(NAME, environment.home),
    taskQueue: TASK_QUEUE,
    workflowBundle: existsSync(BUNDLE) ? { codePath: BUNDLE } : await bundleWorkflows(),
    activities: { ...pipelineActivities(environment, temporal, stages) },
    maxConcurrentActivityTaskExecutions: 20,
    maxHeartbeatThrottleInterval: "2 seconds",
    // what a killed worker had in its cache is given to the next one soon
    stickyQueueScheduleToStartTimeout: "2 seconds",
  });
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stopWorker(worker));
  void endOrphans(temporal.client, NAME, environment.home);
  void clearUploads(environment, temporal.client, stages.root, stop.signal);
  await worker.run();
  stop.abort();
  await temporal.connection.close();
}

try {
  await main();
  process.exit(0);
} catch (error) {
  console.error(error instanceof UserError ? `pipeline worker: ${error.message}` : error);
  process.exit(error instanceof UserError ? 2 : 1);
}
