import { figureDigits } from "../page/comparison.js";
import type { Comparison } from "./compared.js";

/** A comparison for a terminal: scores, then settings that differ. */
export function compareText({ runs, settings, scores, notes }: Comparison): string {
  const names = runs.map(({ name }) => name);
  const score = ({ tuned, interval }: NonNullable<Comparison["scores"][number]["values"][number]>): string =>
    `${figureDigits(tuned)}${interval === undefined ? "" : ` (${interval.map(figureDigits).join(" to ")})`}`;
  const scoreRows = scores.map(({ metric, better, values }) => [
    `${metric} (${better} is better)`,
    ...values.map((value) => (value === null ? "–" : score(value))),
  ]);
  return [
    ...runs.flatMap(({ name, unfinished }) => (unfinished === undefined ? [] : [`${name}: ${unfinished}`, ""])),
    ...table(["Scores of the tuned models", ...names], scoreRows, "no run has been evaluated"),
    ...notes,
    "",
    ...table(
      ["Settings that differ", ...names],
      settings.map(({ setting, values }) => [setting, ...values.map((value) => value ?? "–")]),
      "none",
    ),
  ].join("\n");
}

/** Lines of a table; long cells take their own width. */
function table(head: readonly string[], rows: readonly (readonly string[])[], none: string): string[] {
  if (rows.length === 0) return [head[0]!, `  ${none}`];
  const all = [head, ...rows.map(([name, ...cells]) => [`  ${name}`, ...cells])];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
