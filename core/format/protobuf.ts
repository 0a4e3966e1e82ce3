/** Fields and messages of protocol buffers, for those that we write ourselves: https://protobuf.dev/programming-guides/encoding */

/** Fields one after the other: a message. */
export function message(...fields: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(fields.reduce((sum, field) => sum + field.length, 0));
  let at = 0;
  for (const field of fields) {
    whole.set(field, at);
    at += field.length;
  }
  return whole;
}

/** Seven bits a byte, the lowest first; negative numbers as 64-bit two's complement. */
function varint(value: number): number[] {
  const digits: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) digits.push(Number(rest & 127n) | 128);
  return [...digits, Number(rest)];
}

/** A field of type int32, int64 or of an enumeration. */
export function integer(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field << 3), ...varint(value)]);
}

/** A field of type float. */
export function float(field: number, value: number): Uint8Array {
  const encoded = new Uint8Array(5);
  encoded[0] = (field << 3) | 5;
  new DataView(encoded.buffer).setFloat32(1, value, true);
  return encoded;
}

/** A field of type double. */
export function double(field: number, value: number): Uint8Array {
  const encoded = new Uint8Array(9);
  encoded[0] = (field << 3) | 1;
  new DataView(encoded.buffer).setFloat64(1, value, true);
  return encoded;
}

/** A field of type bytes, or a message. */
export function bytes(field: number, content: Uint8Array): Uint8Array {
  return message(Uint8Array.from([...varint((field << 3) | 2), ...varint(content.length)]), content);
}

/** A field of type string. */
export function text(field: number, value: string): Uint8Array {
  return bytes(field, new TextEncoder().encode(value));
}

/** A message's fields, with the values of those that are integers of up to 53 bits; the others' are skipped. */
export function fieldsOf(content: Uint8Array): { readonly field: number; readonly value?: number }[] {
  let at = 0;
  const next = (): number => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const digit = content[at++] ?? 0;
      value += (digit & 127) * scale;
      if (digit < 128) return value;
    }
  };
  const fields: { readonly field: number; readonly value?: number }[] = [];
  while (at < content.length) {
    const tag = next();
    const [field, type] = [tag >>> 3, tag & 7];
    if (type === 0) fields.push({ field, value: next() });
    else {
      const length = type === 1 ? 8 : type === 5 ? 4 : next();
      at += length;
      fields.push({ field });
    }
  }
  return fields;
}
