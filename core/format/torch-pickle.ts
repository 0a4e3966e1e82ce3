import { CorruptError, UserError } from "../errors.js";

/**
 * A pickle machine that can build dictionaries and tuples of what its caller allows, and nothing else. It has only the
 * operations with which torch writes tensors. It looks a global up in the caller's table and never imports it.
 */

/** What a pickle's names stand for. */
export interface PickleHooks {
  /** What a global stands for; throws if the global is not allowed. If it is a function, REDUCE may call it. */
  global(module: string, name: string): unknown;
  /** What a persistent id, which is a tuple, stands for. */
  persistent(id: unknown): unknown;
}

/** Names of operations that are refused, for the message. Any other operation is named by its number. */
const REFUSED = new Map(
  [
    "0 POP,1 POP_MARK,2 DUP,F FLOAT,I INT,L LONG,P PERSID,S STRING,T BINSTRING,U SHORT_BINSTRING,V UNICODE,a APPEND,d DICT,e APPENDS,g GET",
    "i INST,l LIST,o OBJ,p PUT,] EMPTY_LIST,B BINBYTES,C SHORT_BINBYTES,G BINFLOAT,\x81 NEWOBJ,\x82 EXT1,\x83 EXT2,\x84 EXT4,\x8b LONG4",
    "\x8d BINUNICODE8,\x8e BINBYTES8,\x8f EMPTY_SET,\x90 ADDITEMS,\x91 FROZENSET,\x92 NEWOBJ_EX,\x96 BYTEARRAY8,\x97 NEXT_BUFFER",
  ].flatMap((line) => line.split(",").map((entry): [string, string] => [entry[0]!, entry.slice(2)])),
);

/** What the machine does for each operation that it knows. */
const OPERATIONS: Readonly<Record<string, (machine: Machine) => void>> = {
  "\x80": (m) => m.protocol(m.byte()),
  "\x95": (m) => m.skip(8), // FRAME: a hint to readers of streams
  "(": (m) => m.mark(),
  N: (m) => m.push(null),
  "\x88": (m) => m.push(true),
  "\x89": (m) => m.push(false),
  K: (m) => m.push(m.byte()),
  M: (m) => m.push(m.view.getUint16(m.skip(2), true)),
  J: (m) => m.push(m.view.getInt32(m.skip(4), true)),
  "\x8a": (m) => m.push(m.long(m.byte())),
  X: (m) => m.push(m.text(m.word())),
  "\x8c": (m) => m.push(m.text(m.byte())),
  "}": (m) => m.push(new Map()),
  ")": (m) => m.push([]),
  "\x85": (m) => m.push(m.take(1)),
  "\x86": (m) => m.push(m.take(2)),
  "\x87": (m) => m.push(m.take(3)),
  t: (m) => m.push(m.sinceMark()),
  s: (m) => m.setItems(m.take(2)),
  u: (m) => m.setItems(m.sinceMark()),
  q: (m) => m.put(m.byte()),
  r: (m) => m.put(m.word()),
  "\x94": (m) => m.put(m.memo.size),
  h: (m) => m.get(m.byte()),
  j: (m) => m.get(m.word()),
  c: (m) => m.global(m.line(), m.line()),
  "\x93": (m) => m.global(...(m.take(2) as [unknown, unknown])),
  R: (m) => m.reduce(),
  Q: (m) => m.push(m.hooks.persistent(m.take(1)[0])),
  b: (m) => m.build(),
};

/** Runs a pickle. Dictionaries become Maps, tuples arrays. Throws UserError if it is refused, CorruptError if it is damaged. */
export function unpickle(bytes: Uint8Array, hooks: PickleHooks, where: string): unknown {
  return new Machine(bytes, hooks, where).run();
}

class Machine {
  private readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly hooks: PickleHooks;
  private readonly where: string;
  private at = 0;
  private stack: unknown[] = [];
  /** the stacks below each open mark */
  private readonly below: unknown[][] = [];
  readonly memo = new Map<number, unknown>();

  constructor(bytes: Uint8Array, hooks: PickleHooks, where: string) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.hooks = hooks;
    this.where = where;
  }

  run(): unknown {
    for (;;) {
      const code = String.fromCharCode(this.byte());
      if (code === ".") return this.result();
      const operation = OPERATIONS[code];
      if (operation === undefined) throw this.refusal("operation", REFUSED.get(code) ?? `0x${code.charCodeAt(0).toString(16)}`);
      operation(this);
    }
  }

  private result(): unknown {
    const value = this.take(1)[0];
    if (this.stack.length > 0 || this.below.length > 0 || this.at !== this.bytes.length)
      throw this.damage("a pickle goes on after its end");
    return value;
  }

  push(value: unknown): void {
    this.stack.push(value);
  }

  protocol(version: number): void {
    if (version > 5) throw this.refusal("protocol", String(version));
  }

  mark(): void {
    this.below.push(this.stack);
    this.stack = [];
  }

  sinceMark(): unknown[] {
    const items = this.stack;
    const below = this.below.pop();
    if (below === undefined) throw this.damage("a pickle closes a mark that it did not set");
    this.stack = below;
    return items;
  }

  take(count: number): unknown[] {
    if (this.stack.length < count) throw this.damage("a pickle takes more from its stack than the stack holds");
    return this.stack.splice(-count);
  }

  setItems(items: readonly unknown[]): void {
    const target = this.stack.at(-1);
    if (!(target instanceof Map) || items.length % 2 !== 0) throw this.damage("a pickle sets items of something that is not a dictionary");
    for (let index = 0; index < items.length; index += 2) {
      if (typeof items[index] !== "string") throw this.refusal("key", typeof items[index]);
      target.set(items[index], items[index + 1]);
    }
  }

  put(index: number): void {
    if (this.stack.length === 0) throw this.damage("a pickle puts a value into its memo from an empty stack");
    this.memo.set(index, this.stack.at(-1));
  }

  get(index: number): void {
    if (!this.memo.has(index)) throw this.damage("a pickle reads a memo entry that it did not write");
    this.stack.push(this.memo.get(index));
  }

  global(module: unknown, name: unknown): void {
    if (typeof module !== "string" || typeof name !== "string") throw this.damage("a pickle names a global by something that is not text");
    this.stack.push(this.hooks.global(module, name));
  }

  reduce(): void {
    const [callable, args] = this.take(2);
    if (typeof callable !== "function" || !Array.isArray(args)) throw this.refusal("call", typeof callable);
    this.stack.push((callable as (...values: unknown[]) => unknown)(...(args as unknown[])));
  }

  /** Drops an ordered dictionary's attributes: torch keeps versions of modules there, not tensors. */
  build(): void {
    const [target] = this.take(2);
    if (!(target instanceof Map)) throw this.refusal("state", typeof target);
    this.stack.push(target);
  }

  /** Little-endian two's complement of `count` bytes. */
  long(count: number): number {
    const start = this.skip(count);
    let value = 0n;
    for (let index = count - 1; index >= 0; index--) value = (value << 8n) | BigInt(this.bytes[start + index]!);
    const signed = Number(BigInt.asIntN(8 * count, value));
    if (!Number.isSafeInteger(signed)) throw this.damage("a pickle holds a number that is too large for a size");
    return signed;
  }

  text(count: number): string {
    const start = this.skip(count);
    return this.decode(this.bytes.subarray(start, start + count));
  }

  line(): string {
    const end = this.bytes.indexOf(10, this.at);
    if (end < 0) throw this.damage("a pickle ends early");
    const text = this.decode(this.bytes.subarray(this.at, end));
    this.at = end + 1;
    return text;
  }

  private decode(bytes: Uint8Array): string {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      throw new CorruptError("a pickle holds text that is not UTF-8", { file: this.where, at: this.at }, { cause: error });
    }
  }

  byte(): number {
    return this.view.getUint8(this.skip(1));
  }

  word(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  /** Skips `count` bytes and returns the offset of the first. */
  skip(count: number): number {
    const start = this.at;
    if (start + count > this.bytes.length) throw this.damage("a pickle ends early");
    this.at += count;
    return start;
  }

  private damage(what: string): CorruptError {
    return new CorruptError(what, { file: this.where, at: this.at });
  }

  private refusal(kind: string, got: string): UserError {
    return new UserError("a pickle asks for something that tensors do not need, so it is not read any further", {
      file: this.where,
      [kind]: got,
      at: this.at,
    });
  }
}
