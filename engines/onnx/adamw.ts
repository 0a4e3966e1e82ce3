/** One step's settings; betas and epsilon as torch's AdamW takes them. */
export interface AdamwSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** decoupled, on every tensor */
  readonly weightDecay: number;
  /** counts updates from 1 */
  readonly step: number;
  /** what each gradient is multiplied by: the clipping factor */
  readonly gradScale: number;
}

/** Updates weights `w` and moments `m`, `v` in place from gradients `g`, all of one length. Coefficients are float64, every stored value is rounded to fp32 once. */
export function adamwStep(w: Float32Array, m: Float32Array, v: Float32Array, g: Float32Array, settings: AdamwSettings): void {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradScale } = settings;
  const keep = 1 - learningRate * weightDecay;
  // the correction of the second moment, taken out of the loop's division
  const correction = Math.sqrt(1 - beta2 ** step);
  const stepSize = (learningRate / (1 - beta1 ** step)) * correction;
  const smallest = epsilon * correction;
  const fresh1 = 1 - beta1;
  const fresh2 = 1 - beta2;
  for (let i = 0; i < w.length; i++) {
    const gradient = g[i]! * gradScale;
    const before = m[i]!;
    const first = Math.fround(before + (gradient - before) * fresh1);
    const second = Math.fround(v[i]! * beta2 + gradient * gradient * fresh2);
    m[i] = first;
    v[i] = second;
    w[i] = w[i]! * keep - (stepSize * first) / (Math.sqrt(second) + smallest);
  }
}
