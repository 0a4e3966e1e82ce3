import { defineSearchAttributeKey } from "@temporalio/common";
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  continueAsNew,
  defineQuery,
  isCancellation,
  proxyActivities,
  setHandler,
  upsertSearchAttributes,
} from "@temporalio/workflow";
import { isShared, parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { ConfigError, type ErrorName } from "../core/errors.js";
import { inputsFrom, outputNamed, resultNamed, type SentResult, type StageName } from "../core/stages/results.js";
import { overrideWords, type Override } from "../core/stages/override.js";
import { gateWord, metricWords, warningsOf } from "../core/stages/words.js";
import {
  QUERIES,
  SEARCH_ATTRIBUTES,
  type FinetuneResult,
  type PipelineActivities,
  type Plan,
  type RunProgress,
  type SearchAttributeName,
  type StageInput,
  type StageRow,
} from "./contract.js";
import { describeFailure, stageFailure, wasAskedToStop } from "./failures.js";
import { trainGang, type Gang } from "./gang.js";
import { atHome, type Home } from "./home.js";
import { STAGE_OPTIONS } from "./options.js";
import { Overrides } from "./overrides.js";
import { Pauses } from "./pause.js";
import { ProgressTable } from "./progress-table.js";
import { LeasedWorkers } from "./leased-workers.js";

const activities = proxyActivities<PipelineActivities>(STAGE_OPTIONS);

/** Name of the failure of a stage that finds its input changed. */
const CHANGED: ErrorName = "ChangedInputError";

/** How often stages are run again because of that; something changes their outputs on purpose then. */
const REPAIRS = 3;

/** The stages have to be gone through once more. */
class Repair extends Error {}

/** How far a run is. */
export const progressQuery = defineQuery<RunProgress>(QUERIES.progress);

/** What a run takes along when its history has grown long. */
export interface Carried {
  readonly plan: Plan;
  readonly results: readonly SentResult[];
  readonly rows: readonly StageRow[];
  readonly trainingAttempts: number;
  readonly paused: boolean;
  /** where its stages are; absent: where it was planned */
  readonly home?: string;
  /** absent: nobody has overridden its gate */
  readonly override?: Override;
  /** digest of the evaluation that the override was given for; absent: there was none */
  readonly overrideFor?: string;
}

/** Fine-tunes a model: download, preprocess, train, evaluate, publish. `input` is a RunConfig with every field optional. */
export async function finetune(input?: unknown, carried?: Carried): Promise<FinetuneResult> {
  const config = parse(input);
  const table = new ProgressTable(carried?.rows);
  setHandler(progressQuery, () => table.progress());
  const pauses = new Pauses(carried?.paused ?? false, (state) => table.hold(state));
  const overrides = new Overrides(carried?.override ?? null, carried?.overrideFor ?? null);
  const workers = new LeasedWorkers((note) => table.start("train", note));
  const plan = carried?.plan ?? (await planned(config, pauses));
  table.note(plan.notes, plan.reportAddress);
  const home: Home = { host: carried?.home ?? plan.host };
  const results: SentResult[] = [...(carried?.results ?? [])];
  const tally = { attempts: carried?.trainingAttempts ?? 0 };
  setAttributes(plan, { RoslinModel: config.model.source, RoslinDataset: config.dataset.source });

  const train = (stageInput: StageInput): Promise<SentResult> =>
    trained(
      {
        input: stageInput,
        home,
        workers,
        tally,
        note: (note) => table.start("train", note),
        warn: (warning) => table.warn("train", warning),
      },
      () =>
        continueAsNew<typeof finetune>(input, {
          plan,
          results,
          rows: table.progress().rows,
          trainingAttempts: tally.attempts,
          paused: pauses.wanted,
          home: home.host,
          ...(overrides.current !== null && { override: overrides.current }),
          ...(overrides.currentFor !== null && { overrideFor: overrides.currentFor }),
        }),
    );
  for (let repairs = REPAIRS; ; repairs--) {
    const stages = new Stages(plan, home, table, pauses, results, repairs > 0);
    try {
      await stages.simple("download", `${config.model.source}, ${config.dataset.source}`);
      await stages.simple("preprocess", "rows to tokens");
      await stages.run("train", train);
      await stages.simple("evaluate", "the tuned model against its base");
      setAttributes(plan, attributesOf(results));
      const { metrics, outputs } = resultNamed(results, "evaluate")!;
      const { passed, reason } = metrics.gate ?? {};
      const dropped = overrides.evaluated(outputNamed(outputs, "report").sha256);
      if (dropped !== null) {
        const words = `the gate was ${overrideWords(dropped)}. The model has been evaluated again since, and the result is another one: the override no longer counts`;
        table.note([...plan.notes, words], plan.reportAddress);
      }
      if (passed !== false) overrides.refuse("the gate of this run was passed: there is nothing to override");
      else await overrides.wait(plan.config.evaluate.gate.overrideWithinHours ?? 0, reason ?? "", pauses, (words) => table.ask(words));
      for (let override: Override | null = null; ; results.pop()) {
        override = passed === false ? overrides.current : null;
        await stages.simple("publish", plan.config.publish.target ?? "", () => (override === null ? {} : { override }));
        // one that came while the model was published
        if (passed !== false || override === overrides.current) break;
      }
      overrides.refuse("publishing has decided: for a run that has ended, use roslin override");
      const { latest, reason: kept, override } = resultNamed(results, "publish")!.metrics;
      if (override !== undefined) setAttributes(plan, { RoslinGate: gateWord({ passed: false, override }) });
      const { rows } = table.progress();
      return { stages: results, rows, trainingAttempts: tally.attempts, published: latest === true, reason: kept ?? null };
    } catch (error) {
      if (!(error instanceof Repair)) throw error;
      // a stage whose output still is what it was takes no time
      results.length = 0;
      overrides.refuse(null);
    }
  }
}

/** One way through the stages of a run. */
class Stages {
  private readonly plan: Plan;
  private readonly home: Home;
  private readonly table: ProgressTable;
  private readonly pauses: Pauses;
  private readonly results: SentResult[];
  private readonly mayRepair: boolean;

  /** `results` gets what each stage left; `mayRepair`: a stage that finds its input changed ends this way with Repair, and not the run. */
  constructor(plan: Plan, home: Home, table: ProgressTable, pauses: Pauses, results: SentResult[], mayRepair: boolean) {
    this.plan = plan;
    this.home = home;
    this.table = table;
    this.pauses = pauses;
    this.results = results;
    this.mayRepair = mayRepair;
  }

  /** Runs a stage, keeps its result, and turns its failure into the run's. */
  async run(
    name: StageName,
    work: (input: StageInput) => Promise<SentResult>,
    more: () => Partial<StageInput> = () => ({}),
  ): Promise<void> {
    const { plan, table, results } = this;
    if (results.some((result) => result.stage === name)) return;
    table.start(name);
    setAttributes(plan, { RoslinStage: name });
    try {
      const result = await this.pauses.run(() => work({ config: plan.config, inputs: inputsFrom(results), ...more() }));
      results.push(result);
      table.end(name, result.reused ? "reused" : "done", metricWords(result.metrics), warningsOf(result.metrics));
    } catch (error) {
      if (isCancellation(error)) table.end(name, "cancelled", "");
      if (isCancellation(error) || !(error instanceof ActivityFailure || error instanceof ApplicationFailure)) throw error;
      const failure = stageFailure(name, error);
      if (failure.type === CHANGED && this.mayRepair) {
        table.start(name, `${describeFailure(error)}; the stages before look again at what they left`);
        throw new Repair();
      }
      table.end(name, "failed", describeFailure(error));
      throw failure;
    }
  }

  /** Runs a stage that is one activity; `more`: what it is given besides the config and inputs. */
  simple(name: Exclude<StageName, "train">, summary: string, more?: () => Partial<StageInput>): Promise<void> {
    const { plan, home } = this;
    const moved = (from: string, to: string): void => this.table.start(name, `${from} takes no stages; goes on on ${to}`);
    return this.run(
      name,
      async (input) => {
        for (;;)
          try {
            return await atHome<SentResult>(home, isShared(plan.config), moved, (options) =>
              activities[name].executeWithOptions({ activityId: name, summary, ...options }, [input]),
            );
          } catch (error) {
            // only an activity that an earlier version scheduled uses up its attempts
            if (!wasAskedToStop(error)) throw error;
            this.table.start(name, `goes on: ${describeFailure(error)}`);
          }
      },
      more,
    );
  }
}

/** Trains and gives the workers back; when the history has grown long, `goOn` continues the run, which keeps them. */
async function trained(gang: Gang, goOn: () => Promise<never>): Promise<SentResult> {
  let release = true;
  try {
    const result = await trainGang(gang);
    if (result !== null) return result;
    release = false; // the next run is the same holder
    return await goOn();
  } finally {
    if (release) await CancellationScope.nonCancellable(() => gang.workers.release());
  }
}

function attributesOf(results: readonly SentResult[]): Partial<Record<SearchAttributeName, string | number>> {
  const { perplexity, gate } = resultNamed(results, "evaluate")!.metrics;
  return {
    ...(typeof perplexity?.tuned === "number" && { RoslinPerplexity: perplexity.tuned }),
    ...(gate !== undefined && { RoslinGate: gateWord(gate) }),
  };
}

function parse(input: unknown): RunConfig {
  try {
    return parseRunConfig(input);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, error.name, error.problems);
  }
}

async function planned(config: RunConfig, pauses: Pauses): Promise<Plan> {
  const options = { activityId: "plan", summary: "what this run needs, and what is here" };
  try {
    return await pauses.run(() => activities.plan.executeWithOptions(options, [config]));
  } catch (error) {
    throw isCancellation(error) ? error : stageFailure("plan", error);
  }
}

/** Sets those attributes that the namespace knows: an unknown one would keep the workflow from going on. */
function setAttributes(plan: Plan, values: Partial<Record<SearchAttributeName, string | number>>): void {
  const pairs = plan.searchAttributes.flatMap((name) => {
    const value = values[name];
    if (value === undefined) return [];
    const key = SEARCH_ATTRIBUTES[name] === "Double" ? defineSearchAttributeKey(name, "DOUBLE") : defineSearchAttributeKey(name, "KEYWORD");
    return [{ key, value }] as never[];
  });
  if (pairs.length > 0) upsertSearchAttributes(pairs);
}
