import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { intervalIn, perplexityIn, type Evaluation } from "../../activities/evaluate/evaluation.js";
import { outputNamed, resultNamed, type SentResult } from "../../core/stages/results.js";
import type { FinetuneResult } from "../../workflows/contract.js";
import { goodputLines } from "./goodput.js";
import { intervalWords, latestStays, lossEnds, perplexity as figure, verdictWords } from "../../core/stages/words.js";
import { bytes, count, duration, rate } from "../../core/units.js";

/** How many objects are listed, and how many characters of a text are shown. */
const SHOWN = { objects: 20, text: 240 };

/** What a run published, and where its report can be read. */
export interface ShownPublication {
  readonly target: string;
  readonly objects: readonly { readonly key: string; readonly bytes: number }[];
  /** the address of the report; null: there is none */
  readonly report: string | null;
}

/** A finished run's results, for a reader at a terminal, with so many answers at most. */
export function demoSummary(
  result: FinetuneResult,
  seconds: number,
  { target, objects, report: address }: ShownPublication,
  answers: number,
): string {
  const report = JSON.parse(
    readFileSync(fileURLToPath(outputNamed(resultNamed(result.stages, "evaluate")!.outputs, "report").uri), "utf8"),
  ) as Evaluation;
  const trained = resultNamed(result.stages, "train")!;
  const published = resultNamed(result.stages, "publish")!.metrics;
  return [
    `Done in ${duration(seconds)}.`,
    "",
    "Time by stage",
    ...result.rows.map(
      (row) => `  ${row.stage.padEnd(10)} ${duration(row.seconds ?? 0).padStart(12)}${row.state === "reused" ? "  (found done)" : ""}`,
    ),
    "",
    ...lossLines(trained),
    ...goodputLines(trained),
    ...perplexityLines(report),
    "",
    ...report.samples.slice(0, answers).flatMap(answerLines),
    `Published to ${target}${published.latest === true ? ", and latest.json names it" : `; ${latestStays(published.reason)}`}`,
    ...objects.slice(0, SHOWN.objects).map((object) => `  ${bytes(object.bytes).padStart(9)}  ${object.key}`),
    ...(objects.length > SHOWN.objects ? [`  and ${objects.length - SHOWN.objects} more`] : []),
    ...(address === null ? [] : ["", `Report      ${address}`]),
  ].join("\n");
}

/** First and last loss: a result that went through Temporal has only the ends of long lists. */
function lossLines({ metrics }: SentResult<"train">): string[] {
  const ends = lossEnds(metrics.losses);
  const speed = metrics.tokensPerSecond;
  return [
    `Loss        ${ends === null ? "–" : `${Number(ends.first).toFixed(3)} at the first step, ${Number(ends.last).toFixed(3)} at step ${count(Number(metrics.steps ?? 0))}`}${typeof speed === "number" ? `; ${rate(speed, "tokens")}` : ""}`,
  ];
}

function perplexityLines(evaluation: Evaluation): string[] {
  const { base, tuned } = perplexityIn(evaluation);
  if (base === null || tuned === null) return ["Perplexity  not judged: no rows were held out"];
  const interval = intervalIn(evaluation);
  return [
    `Perplexity  ${figure(base)} before, ${figure(tuned)} after, on ${count(evaluation.heldOut.rows, "row")} that it was not trained on`,
    ...(interval === null
      ? []
      : [`            after / before ${figure(tuned / base)}, ${intervalWords(interval.ratio)}: ${verdictWords(interval.ratio)}`]),
  ];
}

function answerLines(sample: Evaluation["samples"][number]): string[] {
  const question = sample.instruction ?? String(sample.prompt);
  return [
    `Asked       ${oneLine(question)}${sample.input === undefined ? "" : ` / ${oneLine(sample.input)}`}`,
    `  before    ${oneLine(String(sample.base))}`,
    `  after     ${oneLine(String(sample.tuned))}`,
    ...(sample.expected === undefined ? [] : [`  expected  ${oneLine(String(sample.expected))}`]),
    "",
  ];
}

function oneLine(text: string): string {
  const flat = text.replaceAll(/\s+/g, " ").trim();
  if (flat === "") return "(nothing)";
  return flat.length > SHOWN.text ? `${flat.slice(0, SHOWN.text)}…` : flat;
}
