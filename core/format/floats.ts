/** Conversions between fp32 and IEEE half or bfloat16, element by element. Rounding is to nearest even, as in torch. */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Index of the first value that is infinite or not a number; -1 when all are finite. */
export function firstNonFinite(values: Float32Array): number {
  // less themselves they are 0, or not a number; four sums without a branch take half as long as a look at each
  const whole = values.length & ~3;
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    a += values[i]! - values[i]!;
    b += values[i + 1]! - values[i + 1]!;
    c += values[i + 2]! - values[i + 2]!;
    d += values[i + 3]! - values[i + 3]!;
  }
  for (let i = whole; i < values.length; i++) a += values[i]! - values[i]!;
  return a + b + c + d === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}

const HALF_TO_FLOAT: Float32Array = Float32Array.from({ length: 65536 }, (_, half) => {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});

/** The value of an IEEE half's bits. */
export function halfToNumber(half: number): number {
  return HALF_TO_FLOAT[half]!;
}

/** IEEE half to fp32, exactly. */
export function halfToFloat(source: Uint16Array, target: Float32Array): void {
  for (let i = 0; i < source.length; i++) target[i] = HALF_TO_FLOAT[source[i]!]!;
}

/** bfloat16 to fp32, exactly. */
export function bfloatToFloat(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

/** fp32 to bfloat16, rounded. */
export function floatToBfloat(source: Float32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; i++) {
    f32[0] = source[i]!;
    const bits = u32[0]!;
    target[i] = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
}

/** fp32 to IEEE half, rounded; values that are too large become infinite. */
export function floatToHalf(source: Float32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; i++) target[i] = toHalf(source[i]!);
}

function toHalf(value: number): number {
  f32[0] = value;
  const bits = u32[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(f32[0]);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundHalfEven(magnitude * 2 ** 24);
  // drop 13 bits of the fraction, to nearest even, and move the exponent's bias from 127 to 15
  const rounded = (bits & 0x7fffffff) + 0xfff + ((bits >>> 13) & 1);
  return sign | ((rounded >>> 13) - (112 << 10));
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
