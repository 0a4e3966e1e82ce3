import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { StageContext, StageRequest } from "../../activities/common/stage.js";
import type { RunConfig } from "../../core/config/schema.js";
import { parseSource } from "../../core/config/source-ref.js";
import { UserError } from "../../core/errors.js";
import { comparesWithLive } from "../../core/stages/gate.js";
import { parseOverride, type Override } from "../../core/stages/override.js";
import { inputsFrom, STAGES, type StageName, type StageResult } from "../../core/stages/results.js";
import { goodputLines } from "../show/goodput.js";
import { wholeNumber, type Command } from "../shell/command.js";
import { readConfig } from "../shell/read-config.js";
import type { Environment } from "../../workers/environment.js";
import { metricWords } from "../../core/stages/words.js";
import { duration } from "../../core/units.js";
import { progressView } from "../show/progress-bars.js";
import { explained } from "../shell/system-errors.js";
import { untilInterrupted } from "../shell/interrupt.js";

/** `roslin stage`: one stage, without Temporal. */
export const stage: Command = {
  name: "stage",
  summary: "run one stage alone on this machine, without Temporal; after a kill the same command goes on",
  usage: `stage ${STAGES.join("|")} --config FILE --dir DIR [--workers N] [--gpus] [--json]\nof publish, although the gate was not passed: [--override-by NAME --override-reason TEXT]`,
  async run(args, environment) {
    const call = await parseCall(args);
    // download is the first stage, and does without the others' code
    const earlier =
      call.name === "download" ? [] : await (await import("../shell/stage-inputs.js")).earlierResults(call.name, call.config, call.root);
    const { override } = call;
    const request: StageRequest = {
      config: call.config,
      inputs: inputsFrom(earlier),
      root: call.root,
      ...(override !== null && { override }),
    };
    const view = progressView(process.stderr);
    try {
      const result = await untilInterrupted((signal) =>
        runOne(call, request, { signal, progress: (progress) => view.show(progress) }, environment),
      );
      view.end();
      // scripts know the tuned model by the name of its directory
      const outputs = result.outputs.map((output) => (output.name === "tuned" ? { ...output, name: "model" } : output));
      const printed = { ...result, outputs };
      console.log(call.json ? JSON.stringify(printed) : summary(printed));
      return 0;
    } catch (error) {
      view.end();
      throw explained(error, call.root);
    }
  },
};

interface Call {
  readonly name: StageName;
  readonly config: RunConfig;
  readonly root: string;
  /** null: as many as the stage likes */
  readonly workers: number | null;
  /** whether training's workers compute on a GPU each: as many as there are, unless `workers` says how many */
  readonly gpus: boolean;
  readonly json: boolean;
  /** null: nobody overrides the gate */
  readonly override: Override | null;
}

async function parseCall(args: readonly string[]): Promise<Call> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      config: { type: "string" },
      dir: { type: "string" },
      workers: { type: "string" },
      gpus: { type: "boolean" },
      json: { type: "boolean" },
      "override-by": { type: "string" },
      "override-reason": { type: "string" },
    },
  });
  const name = STAGES.find((known) => known === positionals[0]);
  if (name === undefined || positionals.length > 1)
    throw new UserError("name one stage", { expected: STAGES.join(" "), got: positionals.join(" ") });
  if (values.gpus === true && name !== "train")
    throw new UserError("--gpus goes with train, the stage that computes on GPUs", { got: name });
  const { "override-by": by, "override-reason": reason } = values;
  if ((by ?? reason) !== undefined && name !== "publish")
    throw new UserError("--override-by and --override-reason go with publish, which decides what latest.json names", { got: name });
  // an empty value, as from an unset shell variable, would mean the working directory
  if (!values.config || !values.dir) throw new UserError("a stage needs --config FILE and --dir DIR");
  return {
    name,
    config: await readConfig(values.config),
    root: resolve(values.dir),
    workers: values.workers === undefined ? null : wholeNumber("--workers", values.workers),
    gpus: values.gpus ?? false,
    json: values.json ?? false,
    override: by === undefined && reason === undefined ? null : parseOverride({ by, reason }),
  };
}

/** Runs a stage, and loads only its code: to load everything takes longer than a stage that has nothing to do. */
async function runOne(call: Call, request: StageRequest, context: StageContext, environment: Environment): Promise<StageResult> {
  const { config } = call;
  switch (call.name) {
    case "download": {
      const { download } = await import("../../activities/download/download.js");
      const { placesOf } = await import("../../workers/download-deps.js");
      const source = [config.model.source, config.dataset.source].find((each) => parseSource(each).kind === "s3");
      if (source === undefined) return download(placesOf(environment), request, context);
      const { withS3 } = await import("../machine/with-s3.js");
      return withS3(environment, source, context.signal, (reachable) => download(placesOf(reachable), request, context));
    }
    case "preprocess": {
      const { preprocess } = await import("../../activities/preprocess/preprocess.js");
      const { preprocessDeps } = await import("../../workers/preprocess-deps.js");
      return preprocess(preprocessDeps(call.workers), request, context);
    }
    case "train": {
      const { trainLocally } = await import("../../workers/local-training.js");
      const { trainDeps } = await import("../../workers/train-deps.js");
      const { chooseGpus } = await import("../../infra/gpu/choose-gpus.js");
      const gpus = call.gpus ? await chooseGpus(environment.variables, call.workers) : [];
      const workers = Math.min(call.gpus ? gpus.length : (call.workers ?? 1), config.train.shards);
      return trainLocally(trainDeps, request, workers, context, undefined, gpus);
    }
    case "evaluate":
    case "publish": {
      const { makeStages } = await import("../../workers/stages.js");
      const { isInBucket, withS3 } = await import("../machine/with-s3.js");
      if (call.name === "evaluate") {
        const { chosenTasks } = await import("../../core/benchmark/chosen.js");
        const at = [...livePlaces(config), ...chosenTasks(config.evaluate.tasks).map(({ source }) => source)].find(isInBucket);
        if (at === undefined) return makeStages(environment).evaluate(request, context);
        return withS3(environment, at, context.signal, (reachable) => makeStages(reachable).evaluate(request, context));
      }
      // of a base that was published in a bucket, the licence is in its manifest
      const place = parseSource(config.model.source).kind === "s3" ? config.model.source : config.publish.target;
      return withS3(environment, place, context.signal, (reachable) => makeStages(reachable).publish(request, context));
    }
  }
}

/** Where the live model is, if rules compare with it: at the target, unless it is named by its address. */
function livePlaces({ evaluate, publish }: RunConfig): (string | null)[] {
  if (!comparesWithLive(evaluate)) return [];
  return [evaluate.live?.uri.includes("://") === true ? evaluate.live.uri : publish.target];
}

function summary(result: StageResult): string {
  const head = `${result.stage} ${result.reused ? "had been done: nothing has changed since" : `done in ${duration(result.metrics.seconds)}`}`;
  return [
    head,
    `  ${metricWords(result.metrics)}`,
    ...goodputLines(result).map((line) => `  ${line}`),
    ...result.outputs.slice(0, 10).map(({ name, uri }) => `  ${name.padEnd(10)} ${uri}`),
  ].join("\n");
}
