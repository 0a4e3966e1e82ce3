/** Figures as text that people read. Messages take their figures from here. */

/** "1.5 GB", in powers of ten. */
export function bytes(amount: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.max(0, Math.floor(Math.log10(amount / 0.99995) / 3)), units.length - 1);
  return power === 0 ? `${Math.round(amount)} B` : `${(amount / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** "0.3 s", "42 s", "3 min 5 s", "2 h 10 min", "3 d 4 h". */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${Number(Math.max(0, seconds).toFixed(1))} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole, 60, "min", 1, "s");
  return whole < 48 * 3600 ? pair(whole, 3600, "h", 60, "min") : pair(whole, 24 * 3600, "d", 3600, "h");
}

/** "3 min 5 s", or "3 min" when nothing is left over. */
function pair(seconds: number, large: number, name: string, small: number, smallName: string): string {
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${name}${rest === 0 ? "" : ` ${rest} ${smallName}`}`;
}

/** "52,002 rows", "1 row"; without a noun the number alone. */
export function count(amount: number, noun = ""): string {
  return `${amount.toLocaleString("en-US")}${noun === "" ? "" : ` ${noun}${amount === 1 ? "" : "s"}`}`;
}

/** "7,958 rows/s", "0.412 rows/s": three significant digits, or all digits before the point. */
export function rate(perSecond: number, noun: string): string {
  const figure = perSecond >= 100 ? count(Math.round(perSecond)) : String(Number(perSecond.toPrecision(3)));
  return `${figure} ${noun}/s`;
}

/** "74.1 %". */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** A figure, or a quotient of two: four decimals, or three digits of a small one. */
export function shortFigure(value: number | null): string {
  if (value === null) return "not finite";
  return value !== 0 && value < 0.001 ? value.toPrecision(3) : value.toFixed(4);
}
