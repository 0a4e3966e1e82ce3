import { Worker } from "@temporalio/worker";
import { CHECKOUT, readEnvironment, type Environment } from "./environment.js";
import { plan } from "../activities/plan/plan-run.js";
import type { StageContext, StageRequest } from "../activities/common/stage.js";
import { parseRunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import type { SentResult, StageName, StageResult } from "../core/stages/results.js";
import { stageQueue, TASK_QUEUE, type PipelineActivities, type StageInput } from "../workflows/contract.js";
import { workflowBundle } from "./bundle.js";
import { connectTemporal, stopWorkers, type Temporal } from "./connect.js";
import { inActivity } from "./context.js";
import { essentials, requestOf } from "./essentials.js";
import { awaitIdle } from "./lease-client.js";
import { OUTGOING, scrubLog } from "./outgoing.js";
import { pausedActivities } from "./pausable.js";
import { planDependencies } from "./place.js";
import { endOrphans, workerIdentity } from "./predecessor.js";
import { onAnyMachine, onThisMachine } from "./shared-stages.js";
import { makeStages, type Stages } from "./stages.js";
import { clearUploads } from "./uploads.js";

/** The pipeline worker: workflows on the queue `roslin`, and every activity but training's ranks there and on its host's own. */

const NAME = "pipeline";

function pipelineActivities(environment: Environment, temporal: Temporal, stages: Stages): PipelineActivities {
  const root = stages.root;
  const request = (input: StageInput): StageRequest => requestOf(input, root);
  const stage = <Name extends StageName>(
    name: Name,
    input: StageInput,
    work: (request: StageRequest, context: StageContext) => Promise<StageResult<Name>>,
  ): Promise<SentResult<Name>> =>
    inActivity(async (context) => essentials<Name>(await onAnyMachine(name, request(input), context, (given) => work(given, context))));
  const planning = planDependencies(environment, temporal, stages);
  return {
    plan: (config) => inActivity((context) => plan(planning, parseRunConfig(config), context)),
    download: (input) => stage("download", input, stages.download),
    preprocess: (input) => stage("preprocess", input, stages.preprocess),
    beginTraining: ({ workers, places, ...input }) =>
      inActivity(async (context) => {
        const ranks = { workers, ...(places !== undefined && { places }) };
        const onGpus = (await planning.gpuMemory()).length > 0;
        const begun = await stages.beginTraining(await onThisMachine("train", request(input), context), ranks, onGpus, context);
        return "finished" in begun ? { finished: essentials(begun.finished) } : begun;
      }),
    finishTraining: (input) =>
      inActivity(async (context) => {
        const result = await onAnyMachine("train", request(input), context, (given) => stages.finishTraining(given, context));
        return result === null ? null : essentials(result);
      }),
    evaluate: (input) => stage("evaluate", input, stages.evaluate),
    publish: (input) => stage("publish", input, stages.publish),
    liveHost: async () => environment.host,
    awaitIdle: (holder) => awaitIdle(temporal.client, holder),
    pausedActivities: () => inActivity(() => pausedActivities(temporal.client)),
  };
}

async function main(): Promise<void> {
  const environment = readEnvironment(process.env, CHECKOUT);
  const temporal = await connectTemporal(environment.variables);
  const stages = makeStages(environment);
  const { client: _, ...connected } = temporal;
  const options = {
    ...connected,
    identity: workerIdentity(NAME, environment.home),
    activities: { ...pipelineActivities(environment, temporal, stages) },
    interceptors: OUTGOING,
    maxConcurrentActivityTaskExecutions: 20,
    maxHeartbeatThrottleInterval: "2 seconds",
  } as const;
  const workers = [
    await Worker.create({
      ...options,
      taskQueue: TASK_QUEUE,
      workflowBundle: await workflowBundle(temporal.dataConverter !== undefined),
      // what a killed worker had in its cache is given to the next one soon
      stickyQueueScheduleToStartTimeout: "2 seconds",
    }),
    await Worker.create({ ...options, taskQueue: stageQueue(environment.host) }),
  ];
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stopWorkers(workers));
  void endOrphans(temporal.client, NAME, environment.home);
  void clearUploads(environment, temporal.client, stages.root, stop.signal);
  await Promise.all(workers.map((worker) => worker.run()));
  stop.abort();
  await temporal.connection.close();
}

scrubLog();
try {
  await main();
  process.exit(0);
} catch (error) {
  console.error(error instanceof UserError ? `pipeline worker: ${error.message}` : error);
  process.exit(error instanceof UserError ? 2 : 1);
}
