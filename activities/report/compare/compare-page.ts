import { intervalPlot } from "../../../infra/plots/interval-plot.js";
import { escapeMarkup } from "../../../infra/plots/markup.js";
import { byStep, runningMean } from "../../../infra/plots/series.js";
import { figureDigits } from "../page/comparison.js";
import { figure, tools } from "../page/curves.js";
import { pageFrame } from "../page/frame.js";
import { columnTable, note, section } from "../page/markup.js";
import { compareRuns, type ComparedRun, type Score } from "./compared.js";

/** Colours of the runs, by their order. */
const TONES = ["strong", "third", "fourth", "soft", "fifth"];

/** Runs side by side on one page that needs no other file. */
export function comparePage(runs: readonly ComparedRun[]): string {
  const { settings, scores, notes } = compareRuns(runs);
  const names = runs.map(({ name }) => name);
  const rows = settings.map(({ setting, values }) => [
    escapeMarkup(setting),
    ...values.map((value) => `<code>${escapeMarkup(value ?? "–")}</code>`),
  ]);
  const unfinished = runs.flatMap(({ name, unfinished: words }) => (words === undefined ? [] : [note(`${name}: ${words}`)]));
  return pageFrame({
    title: names.join(" · "),
    kicker: "Roslin · comparison of runs",
    body: [
      `${unfinished.join("")}</header>`,
      section("Scores", ...scoreTable(names, scores), ...notes.map((words) => note(words))),
      section("Curves", ...curvesOf(runs)),
      section(
        "Settings that differ",
        rows.length === 0 ? "<p>None.</p>" : columnTable("Settings that differ", ["setting", ...names], rows),
      ),
    ],
  });
}

function scoreTable(names: readonly string[], scores: readonly Score[]): string[] {
  if (scores.length === 0) return ["<p>No run has been evaluated.</p>"];
  const rows = scores.map(({ metric, better, values }) => {
    const cells = values.map((value) => {
      if (value === null) return "–";
      const { tuned, interval } = value;
      const ends = interval === undefined ? "" : `<span class="note">${interval.map(figureDigits).join(" to ")}</span>`;
      return `<b>${figureDigits(tuned)}</b>${ends}`;
    });
    const estimates = values.flatMap((value, run) => {
      if (value?.tuned == null) return [];
      const [low = null, high = null] = value.interval ?? [];
      return [
        { name: names[run]!, tone: toneOf(run), value: value.tuned, ends: low === null || high === null ? null : ([low, high] as const) },
      ];
    });
    const picture = intervalPlot({
      description: `${metric}: ${estimates.map(({ name, value }) => `${name} ${figureDigits(value)}`).join(", ")}`,
      estimates,
    });
    return [`${escapeMarkup(metric)}<span class="note">${better} is better</span>`, ...cells, picture];
  });
  const legend = names.map((name, run) => `<span class="key dots ${toneOf(run)}">${escapeMarkup(name)}</span>`).join(" ");
  return [
    `<p class="keys">${legend}</p>`,
    columnTable("Scores of the tuned models", ["metric", ...names, "intervals"], rows),
    note("Each run's interval is of its own items."),
  ];
}

function curvesOf(runs: readonly ComparedRun[]): string[] {
  const steps = Math.max(0, ...runs.map(({ losses }) => losses.length));
  if (steps === 0) return ["<p>No run on this machine has steps.</p>"];
  const shared = { unit: "", steps, marks: [] };
  const losses = figure({
    ...shared,
    id: "loss",
    title: "Training loss, running mean",
    description: runs.map(({ name, losses: own }) => `${name}: ${own.length} steps`).join("; "),
    series: series(runs, ({ losses: own }) => byStep(runningMean(own))),
  });
  const evaluations = figure({
    ...shared,
    id: "evaluation-loss",
    title: "Loss on held-out rows",
    description: runs.map(({ name, evaluations: own }) => `${name}: measured ${own.length} times`).join("; "),
    series: series(runs, ({ evaluations: own }) => own.map(({ step, loss }) => [step, loss] as const), "dotted line"),
  });
  return [
    tools("Lines are running means of the steps' losses; runs have the colours of the scores."),
    `<div class="plots">${losses}${evaluations}</div>`,
  ];
}

type Points = ReturnType<typeof byStep>;

function series(runs: readonly ComparedRun[], pointsOf: (run: ComparedRun) => Readonly<Points>, kind: "line" | "dotted line" = "line") {
  return runs.flatMap((run, index) => {
    const points = pointsOf(run);
    return points.length === 0 ? [] : [{ name: run.name, kind, tone: toneOf(index), points }];
  });
}

function toneOf(run: number): string {
  return TONES[run % TONES.length]!;
}
