import { modelOf } from "../core/model/families.js";
import { planAdapter, withAdapter } from "../core/model/lora/adapter.js";
import { loraOf } from "../core/config/schema.js";
import { elements } from "../core/graph/tensor.js";
import { planStep } from "../core/training/step-plan.js";
import { hostedShards } from "../core/training/slices.js";
import { Control } from "../engines/onnx/control.js";
import { sharedLayout } from "../engines/onnx/layout.js";
import { createSession } from "../engines/onnx/session/session.js";
import { mapShared } from "../engines/onnx/shared-memory.js";
import { trainStep } from "../engines/onnx/step/step.js";
import { openSessions, Workplace } from "../engines/onnx/step/workplace.js";
import { median } from "./figures.js";
import { firstLayers, mappedSpecs, probeSegments, type ProbeInput, type ProbeTimes } from "./probe.js";

/** A process that trains steps as one rank, without waiting for others: it sends "ready", waits for any message, and sends its times. */

/** Steps after one that warms up, unless they take longer than this together. */
const STEPS = 5;
const SECONDS = 8;

const input = JSON.parse(process.argv[2]!) as ProbeInput;
const { train, workers, worker, capacity, layers, type } = input;
const base = modelOf(input.configJson, "the probe's model");
const lora = loraOf(train);
const model = firstLayers(
  lora === null || type === null ? base : withAdapter(base, planAdapter(base, lora), { typeOf: () => type, dropout: lora.dropout > 0 }),
  layers,
);
const layout = sharedLayout(model, train.shards, capacity);
const views = mapShared(input.path, probeSegments(model, train.shards, capacity));
const frozen = views.slice(layout.segments.length);
const training = model.family.training(model.shape, model.parameters);
const seconds = new Map<string, number>();
const sessions = Object.fromEntries(
  Object.entries(await openSessions(training, createSession)).map(([name, session]) => [
    name,
    {
      ...session,
      async run(...args: Parameters<typeof session.run>) {
        const started = performance.now();
        const result = await session.run(...args);
        seconds.set(name, (seconds.get(name) ?? 0) + (performance.now() - started) / 1000);
        return result;
      },
    },
  ]),
);
const control = new Control();
const place = new Workplace({
  model,
  training,
  layout,
  capacity,
  shards: train.shards,
  hosted: hostedShards(train.shards, workers, worker),
  sessions,
  control,
  keepActivations: input.keepActivations,
  dropout: { share: lora?.dropout ?? 0, seed: train.seed },
  mapped: new Map(
    mappedSpecs(model).map((spec, index) => [
      spec.name,
      new (spec.frozen === "float32" ? Float32Array : Uint16Array)(frozen[index]!, 0, elements(spec.shape)),
    ]),
  ),
  segments: views.slice(0, layout.segments.length),
  fresh: (count) => new Float32Array(count),
  arrive: (barrier) => control.release(barrier, "go"),
});
const rows = input.rows.map(([tokens, labels], source) => {
  const inputIds = Int32Array.from({ length: tokens }, (_, at) => (at * 7919 + source * 104_729) % model.shape.vocabulary);
  return { source, inputIds, labels: inputIds.map((id, at) => (at >= tokens - labels ? id : -100)) };
});
const plan = planStep({ count: rows.length, row: (index) => rows[index] } as Parameters<typeof planStep>[0], train, 0);
const blockGraphs = new Set([...training.block.forward, ...training.block.backward].map(({ program }) => program.name));

async function step(): Promise<ProbeTimes> {
  seconds.clear();
  place.takeTimes();
  const started = performance.now();
  await trainStep(place, plan, train, 0, 0, 0);
  const total = (performance.now() - started) / 1000;
  const spent = place.takeTimes();
  const blocks = [...seconds].reduce((sum, [name, each]) => sum + (blockGraphs.has(name) ? each : 0), 0);
  const graphs = [...seconds.values()].reduce((sum, each) => sum + each, 0);
  const updates = spent["reduction"] + spent["optimizer"];
  return { blocks, head: graphs - blocks, updates, rest: total - graphs - updates };
}

await step();
process.once("message", () => {
  void (async () => {
    const steps: ProbeTimes[] = [];
    const until = performance.now() + SECONDS * 1000;
    while (steps.length < STEPS && (steps.length === 0 || performance.now() < until)) steps.push(await step());
    const middle = (name: keyof ProbeTimes): number => median(steps.map((each) => each[name]));
    process.send!({
      blocks: middle("blocks"),
      head: middle("head"),
      updates: middle("updates"),
      rest: middle("rest"),
    } satisfies ProbeTimes);
    process.disconnect();
  })();
});
process.send!("ready");
