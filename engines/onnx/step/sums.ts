/** Sums in float64, in the order given, rounded once: a rank never begins with what it happens to hold. */

const CHUNK = 4096;
const chunk = new Float64Array(CHUNK);

/** target = Σ sources, element by element; all of the same length. */
export function sumRounded(target: Float32Array, sources: readonly Float32Array[]): void {
  if (sources.length === 8) return sumOfEight(target, sources);
  for (let start = 0; start < target.length; start += CHUNK) {
    const count = Math.min(CHUNK, target.length - start);
    chunk.fill(0);
    for (const source of sources) for (let i = 0; i < count; i++) chunk[i]! += source[start + i]!;
    for (let i = 0; i < count; i++) target[start + i] = chunk[i]!;
  }
}

/** The usual number of shards in one pass over memory. */
function sumOfEight(target: Float32Array, sources: readonly Float32Array[]): void {
  const [a, b, c, d, e, f, g, h] = sources as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  for (let i = 0; i < target.length; i++) target[i] = a[i]! + b[i]! + c[i]! + d[i]! + e[i]! + f[i]! + g[i]! + h[i]!;
}

/** total += Σ sources, in order. */
export function addTo(total: Float64Array, sources: readonly Float32Array[]): void {
  for (const source of sources) for (let i = 0; i < total.length; i++) total[i]! += source[i]!;
}

/** Σ x², in four sums, because each addition waits for the one before. */
export function sumOfSquares(values: Float32Array): number {
  const whole = values.length & ~3;
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    a += values[i]! * values[i]!;
    b += values[i + 1]! * values[i + 1]!;
    c += values[i + 2]! * values[i + 2]!;
    d += values[i + 3]! * values[i + 3]!;
  }
  for (let i = whole; i < values.length; i++) a += values[i]! * values[i]!;
  return a + b + c + d;
}

/** Whether every value is a number and finite. */
export function allFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (values[i]! - values[i]! !== 0) return false;
  return true;
}
