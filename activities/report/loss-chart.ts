/** The losses of a run as an inline SVG: each step a dot, and their running mean as a line; a step without a loss is a gap in both. */

const WIDTH = 720;
const HEIGHT = 300;
const MARGIN = { left: 48, right: 16, top: 12, bottom: 36 };
/** Points drawn at most: more are thinned out evenly. */
const MAX_POINTS = 1000;

/** An SVG of `losses`, one for each step; colours come from the page's classes. Without any loss the text is empty. */
export function lossChart(losses: readonly (number | null)[]): string {
  const there = losses.filter((loss) => loss !== null);
  if (there.length === 0) return "";
  const low = there.reduce((a, b) => Math.min(a, b));
  const high = there.reduce((a, b) => Math.max(a, b));
  const ticks = niceTicks(low, high);
  const [bottom, top] = [Math.min(low, ticks[0]!), Math.max(high, ticks.at(-1)!)];
  const x = (step: number): number => MARGIN.left + ((step - 0.5) / losses.length) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (loss: number): number => MARGIN.top + ((top - loss) / (top - bottom || 1)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const every = Math.ceil(losses.length / MAX_POINTS);
  const shown = losses.flatMap((loss, index) => (index % every === 0 ? [{ loss, index, at: x(index + 1).toFixed(1) }] : []));
  const dots = shown.flatMap(({ loss, index, at }) =>
    loss === null
      ? []
      : [`<circle class="dot" cx="${at}" cy="${y(loss).toFixed(1)}" r="2"><title>step ${index + 1}: ${loss.toFixed(4)}</title></circle>`],
  );
  const means = runningMean(losses);
  const lines: string[][] = [[]];
  for (const { loss, index, at } of shown)
    if (loss === null) lines.push([]);
    else lines.at(-1)!.push(`${at},${y(means[index]!).toFixed(1)}`);
  const grid = ticks.map(
    (tick) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}"/>` +
      `<text class="tick" x="${MARGIN.left - 8}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick}</text>`,
  );
  const steps = niceTicks(1, losses.length)
    .map((tick) => Math.max(1, Math.round(tick)))
    .filter((tick, index, all) => tick <= losses.length && all.indexOf(tick) === index);
  const axis = steps.map(
    (step) => `<text class="tick" x="${x(step).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 18}" text-anchor="middle">${step}</text>`,
  );
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Training loss by step, from ${there[0]!.toFixed(3)} to ${there.at(-1)!.toFixed(3)}">`,
    ...grid,
    ...axis,
    `<text class="tick" x="${WIDTH - MARGIN.right}" y="${HEIGHT - 2}" text-anchor="end">step</text>`,
    ...dots,
    ...lines.filter(({ length }) => length > 0).map((line) => `<polyline class="line" points="${line.join(" ")}"/>`),
    "</svg>",
  ].join("\n");
}

/** The mean around each step, over about a fortieth of the run, at least five steps; NaN where none of them has a loss. */
function runningMean(losses: readonly (number | null)[]): number[] {
  const half = Math.max(2, Math.round(losses.length / 80));
  return losses.map((_, index) => {
    const around = losses.slice(Math.max(0, index - half), index + half + 1).filter((loss) => loss !== null);
    return around.reduce((sum, loss) => sum + loss, 0) / around.length;
  });
}

/** Four to eight round numbers between two values. */
function niceTicks(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= 6)!;
  const decimals = Math.max(0, -Math.floor(Math.log10(step)));
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  const ticks = Array.from({ length: Math.max(0, count) }, (_, index) => Number(((first + index) * step).toFixed(decimals)));
  return ticks.length > 0 ? ticks : [low];
}
