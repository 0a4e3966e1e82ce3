import { loraOf } from "../../core/config/schema.js";
import { trainedParameters } from "../../core/model/family.js";
import { learningRateAt } from "../../core/training/learning-rate.js";
import { hostedShards } from "../../core/training/slices.js";
import { evaluatesAfter, planEvaluation, planStep, type Capacity } from "../../core/training/step-plan.js";
import { openTokens } from "../../infra/dataset/tokens.js";
import { ModelFiles, SafetensorsFile } from "../../infra/weights/model-files.js";
import { mappedWeights, openInitialWeights, trainedModel } from "../../infra/weights/trained-model.js";
import { tellShard, type ComputeEvent, type Evaluation, type RankInput } from "../engine.js";
import { Control } from "./control.js";
import { sharedLayout } from "./layout.js";
import { createSession } from "./session/session.js";
import { mapScratch, mapShared, mapWeights } from "./shared-memory.js";
import { ownedLengths } from "./step/owner.js";
import { evaluate } from "./step/evaluation.js";
import { copyOf, fillFromBase, fillFromCheckpoint, readFrozen } from "./step/state.js";
import { openSessions, Workplace } from "./step/workplace.js";
import { trainStep } from "./step/step.js";

/** The compute thread of a rank: everything that blocks. */

/** What the ranks of an attempt must agree on. */
export interface OnnxSetup {
  /** the most that a micro-batch needs, which decides the layout of the shared memory */
  readonly capacity: Capacity;
  /** whether there is memory to keep what blocks compute on the way forward; the bits are the same */
  readonly keepActivations: boolean;
  /** the file that the ranks map */
  readonly sharedPath: string;
  readonly sharedBytes: number;
  /** what the name of a rank's file of moments begins with; null: they are in memory */
  readonly statesPath: string | null;
}

/** What its main thread hands it. */
export interface ComputeInput extends RankInput<OnnxSetup> {
  /** the words of a `Control` */
  readonly control: SharedArrayBuffer;
}

/** Says an event; buffers in `transfer` are given away with it. */
type Say = (event: ComputeEvent, transfer?: ArrayBuffer[]) => void;

/** Trains from the attempt's first step until its last, or until the coordinator says stop. Throws AbortedError when the attempt is over. */
export async function compute(rank: ComputeInput, say: Say): Promise<void> {
  const { train, resume, setup } = rank;
  const control = new Control(rank.control, (shard) => tellShard(rank.whereabouts, shard));
  const files = new ModelFiles(rank.model);
  const model = trainedModel(files, train);
  const { train: split, test } = await openTokens(rank.tokens);
  const layout = sharedLayout(model, train.shards, setup.capacity);
  const training = model.family.training(model.shape, model.parameters);
  const hosted = hostedShards(train.shards, rank.workers, rank.worker);
  const lengths = ownedLengths(trainedParameters(model.parameters), train.shards, hosted);
  const onDisk = setup.statesPath === null ? null : await mapScratch(`${setup.statesPath}-${rank.worker}`, lengths);
  const place = new Workplace({
    model,
    training,
    layout,
    capacity: setup.capacity,
    shards: train.shards,
    hosted,
    sessions: await openSessions(training, createSession),
    control,
    keepActivations: setup.keepActivations,
    dropout: { share: loraOf(train)?.dropout ?? 0, seed: train.seed },
    mapped: mapWeights(mappedWeights(files, model)),
    segments: mapShared(setup.sharedPath, layout.segments),
    fresh: (count) => onDisk?.shift() ?? new Float32Array(count),
    arrive: (barrier, end, evaluates) =>
      say({ kind: "arrive", barrier, ...(end !== undefined && { end }), ...(evaluates !== undefined && { evaluates }) }),
  });
  const initial = openInitialWeights(files, train.seed);
  for (const owner of place.owners) {
    const part = { shards: train.shards, shard: owner.shard, isFirst: resume === null };
    readFrozen(
      model,
      initial,
      part,
      (spec) => place.weight(spec).data as Float32Array,
      () => control.step(),
    );
    if (resume === null) fillFromBase(owner, model, initial);
    else {
      const file = new SafetensorsFile(resume.files[owner.shard]!);
      fillFromCheckpoint(owner, file);
      file.close();
    }
    control.step();
  }
  initial.close();
  place.barrier();

  const heldOut = train.evalEverySteps === null ? null : planEvaluation(test, train);
  let updates = resume?.updates ?? 0;
  // a step ends where its record is made: waiting for the others after it, and copying for a checkpoint, are the next one's time
  let started = performance.now();
  place.takeTimes();
  for (let stepIndex = rank.resumeStep; stepIndex < rank.totalSteps; stepIndex++) {
    const plan = planStep(split, train, stepIndex);
    const outcome = await trainStep(place, plan, train, learningRateAt(train, stepIndex, rank.totalSteps), stepIndex, updates);
    if (outcome.updated) updates++;
    const ended = performance.now();
    const stepsDone = stepIndex + 1;
    const measured = {
      loss: outcome.loss,
      norm: outcome.norm,
      seconds: (ended - started) / 1000,
      spent: place.takeTimes(),
      tokens: plan.tokens,
      labels: plan.positions,
      rows: plan.rows,
    };
    started = ended;
    let evaluation: Evaluation | null = null;
    if (heldOut !== null && heldOut.positions > 0 && evaluatesAfter(train, stepsDone, rank.totalSteps)) {
      evaluation = await evaluate(place, heldOut);
      // what it took is no step's time
      place.takeTimes();
      started = performance.now();
    }
    const record = { ...measured, ...(evaluation !== null && { evaluation }) };
    const directive = place.barrier({ stepsDone, record });
    if (directive !== "go")
      for (const owner of place.owners) {
        const tensors = copyOf(owner);
        say(
          { kind: "shard", stepsDone, updates, shard: owner.shard, tensors },
          tensors.map(({ data }) => data.buffer),
        );
      }
    if (directive === "stop" || directive === "finish")
      return say({ kind: "done", stepsDone, status: directive === "stop" ? "stopped" : "finished" });
  }
}
