import type { Interruption } from "../../../core/stages/ledger.js";
import { learningRateAt } from "../../../core/training/learning-rate.js";
import { count, duration } from "../../../core/units.js";
import { linePlot, type LinePlot, type Mark, type Series } from "../../../infra/plots/line-plot.js";
import { escapeMarkup } from "../../../infra/plots/markup.js";
import { byStep, runningMean } from "../../../infra/plots/series.js";
import type { ReportStory } from "../story.js";

/** What a run was like, step by step: plots that share their axis of steps. */
export function curves(story: ReportStory): string {
  const { losses, curves: more = {}, config, ledger } = story;
  const { gradientNorms = [], rates = [], evaluations = [] } = more;
  const steps = losses.length;
  if (steps === 0) return "<p>No step is done yet.</p>";
  const marks = (ledger?.interruptions ?? []).map(markOf);
  const plotted = (plot: Omit<LinePlot, "steps" | "marks" | "description">): string =>
    figure({ ...plot, steps, marks, description: described(plot.series, steps, marks.length) });
  const learningRates = losses.map((_, step) => learningRateAt(config.train, step, story.totalSteps ?? steps));
  const gaps = losses.includes(null) ? " A gap is a step whose rows have no label: it has no loss and updated nothing." : "";
  const plots = [
    plotted({
      id: "loss",
      title: "Training loss",
      unit: "",
      series: withMean("loss", losses),
    }),
    plotted({
      id: "evaluation-loss",
      title: "Loss on held-out rows",
      unit: "",
      series: [{ name: "held-out loss", kind: "dotted line", tone: "strong", points: evaluations.map(({ step, loss }) => [step, loss]) }],
    }),
    plotted({
      id: "learning-rate",
      title: "Learning rate",
      unit: "",
      series: [{ name: "learning rate", kind: "line", tone: "strong", points: byStep(learningRates) }],
    }),
    plotted({
      id: "gradient-norm",
      title: "Gradient norm, before clipping",
      unit: "",
      series: withMean("gradient norm", gradientNorms),
    }),
    plotted({
      id: "throughput",
      title: "Throughput",
      unit: "tokens/s",
      series: [{ name: "tokens/s", kind: "line", tone: "strong", points: byStep(rates) }],
    }),
  ].filter((plot) => plot !== "");
  const keys = [
    "Dots are steps; the line is the running mean of the dots.",
    ...(marks.length === 0
      ? []
      : [
          "On the axis, a cross is a failure, two bars are a planned stop, and a triangle is the step that training went on from. A band covers steps that were done again.",
        ]),
  ];
  return `${tools(keys.join(" ") + gaps)}
<div class="plots">
${plots.join("\n")}
</div>`;
}

/** What the plots show, and beside it the button that ends a zoom. */
export function tools(words: string): string {
  return `<div class="tools"><p class="note">${escapeMarkup(words)}</p><button type="button" class="whole" hidden>Show all steps</button></div>`;
}

/** A plot under its title; nothing without any value. */
export function figure(plot: LinePlot): string {
  const drawn = linePlot(plot);
  if (drawn === "") return "";
  const legend = plot.series.map(
    ({ name, kind, tone }) => `<span class="key ${kind === "dots" ? "dots" : "line"} ${tone}">${escapeMarkup(name)}</span>`,
  );
  return `<figure><figcaption><b>${escapeMarkup(plot.title)}</b> ${legend.join(" ")}</figcaption>${drawn}</figure>`;
}

/** Each step as a dot, and the line of their running mean. */
function withMean(name: string, values: readonly (number | null)[]): Series[] {
  return [
    { name, kind: "dots", tone: "soft", points: byStep(values) },
    { name: "running mean", kind: "line", tone: "strong", points: byStep(runningMean(values)) },
  ];
}

/** What an interruption was, on the axis of steps. */
function markOf({ failure, what, afterStep, seconds, stepsLost }: Interruption): Mark {
  const again = stepsLost === 0 ? "" : `, ${count(stepsLost, "step")} done again`;
  const text = `${what}; went on after step ${afterStep} when ${duration(seconds)} had gone by${again}`;
  return { kind: failure ? "failure" : "stop", kept: afterStep, done: afterStep + stepsLost, text };
}

/** What a reader hears who cannot see a plot. */
function described(series: readonly Series[], steps: number, marks: number): string {
  const values = series[0]!.points.flatMap(([, value]) => value ?? []);
  if (values.length === 0) return "";
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const ends = `from ${digits(values[0]!)} to ${digits(values.at(-1)!)}, least ${digits(low)}, greatest ${digits(high)}`;
  return `By step, ${count(steps, "step")}: ${ends}${marks === 0 ? "" : `; ${count(marks, "interruption")}`}.`;
}

function digits(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : value >= 1000 ? count(Math.round(value)) : value.toFixed(3);
}
