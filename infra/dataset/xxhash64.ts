/** XXH64 with seed 0, as Zstandard's frames are checked with. */

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

const STRIPE = 32;
const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint): bigint => wrap(value << bits) | (value >> (64n - bits));
const round = (sum: bigint, lane: bigint): bigint => wrap(rotate(wrap(sum + wrap(lane * P2)), 31n) * P1);

/** A hash of bytes that come in pieces. */
export class XxHash64 {
  private a = wrap(P1 + P2);
  private b = P2;
  private c = 0n;
  private d = wrap(-P1);
  private bytes = 0n;
  private held = 0;
  private readonly stripe = new Uint8Array(STRIPE);

  update(bytes: Uint8Array): void {
    this.bytes += BigInt(bytes.length);
    let at = 0;
    if (this.held > 0) {
      at = Math.min(STRIPE - this.held, bytes.length);
      this.stripe.set(bytes.subarray(0, at), this.held);
      this.held += at;
      if (this.held < STRIPE) return;
      this.stripes(this.stripe);
    }
    const whole = at + Math.floor((bytes.length - at) / STRIPE) * STRIPE;
    this.stripes(bytes.subarray(at, whole));
    this.held = bytes.length - whole;
    this.stripe.set(bytes.subarray(whole));
  }

  /** The hash's low 32 bits. */
  low32(): number {
    const { a, b, c, d } = this;
    let hash = P5;
    if (this.bytes >= STRIPE) {
      hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
      for (const lane of [a, b, c, d]) hash = wrap((hash ^ round(0n, lane)) * P1 + P4);
    }
    hash = wrap(hash + this.bytes);
    const view = new DataView(this.stripe.buffer);
    let at = 0;
    for (; at + 8 <= this.held; at += 8) hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
    if (at + 4 <= this.held) {
      hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
      at += 4;
    }
    for (; at < this.held; at++) hash = wrap(rotate(hash ^ wrap(BigInt(this.stripe[at]!) * P5), 11n) * P1);
    hash = wrap((hash ^ (hash >> 33n)) * P2);
    hash = wrap((hash ^ (hash >> 29n)) * P3);
    return Number((hash ^ (hash >> 32n)) & 0xffffffffn);
  }

  private stripes(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let { a, b, c, d } = this;
    for (let at = 0; at < bytes.length; at += STRIPE) {
      a = round(a, view.getBigUint64(at, true));
      b = round(b, view.getBigUint64(at + 8, true));
      c = round(c, view.getBigUint64(at + 16, true));
      d = round(d, view.getBigUint64(at + 24, true));
    }
    [this.a, this.b, this.c, this.d] = [a, b, c, d];
  }
}
