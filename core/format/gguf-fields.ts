import { UserError } from "../errors.js";
import type { GgufValue } from "./gguf-values.js";

/** A GGUF's values by their names, each of the kind that is asked for. Throws UserError naming file and value. */
export class GgufFields {
  readonly where: string;
  private readonly metadata: ReadonlyMap<string, GgufValue>;

  constructor(metadata: ReadonlyMap<string, GgufValue>, where: string) {
    this.metadata = metadata;
    this.where = where;
  }

  /** Names of the values that begin with a prefix. */
  below(prefix: string): string[] {
    return [...this.metadata.keys()].filter((key) => key.startsWith(prefix));
  }

  has(key: string): boolean {
    return this.metadata.has(key);
  }

  /** Whether a value says no: 0 or false. */
  isZero(key: string): boolean {
    const value = this.metadata.get(key);
    return value === 0 || value === false;
  }

  /** A whole number from 0 on; without `otherwise` it must be there. */
  count(key: string, otherwise?: number): number {
    return this.read(key, otherwise, "a whole number", (value) => Number.isSafeInteger(value) && (value as number) >= 0);
  }

  /** A finite number above 0; without `otherwise` it must be there. */
  positive(key: string, otherwise?: number): number {
    return this.read(key, otherwise, "a number above 0", (value) => Number.isFinite(value) && (value as number) > 0);
  }

  text(key: string, otherwise?: string): string {
    return this.read(key, otherwise, "a text", (value) => typeof value === "string");
  }

  flag(key: string, otherwise: boolean): boolean {
    return this.read(key, otherwise, "true or false", (value) => typeof value === "boolean");
  }

  texts(key: string): readonly string[] {
    const isTexts = (value: GgufValue): boolean => Array.isArray(value) && value.every((each) => typeof each === "string");
    return this.read<readonly string[]>(key, undefined, "a list of texts", isTexts);
  }

  /** A list of numbers; null: it is not there. */
  numbers(key: string): ArrayLike<number> | null {
    const isNumbers = (value: GgufValue): boolean =>
      ArrayBuffer.isView(value) && !(value instanceof BigInt64Array) && !(value instanceof BigUint64Array);
    return this.has(key) ? this.read<ArrayLike<number>>(key, undefined, "a list of numbers", isNumbers) : null;
  }

  /** An error about a value. */
  wrong(key: string, expected: string): UserError {
    const value = this.metadata.get(key);
    const isLong = typeof value === "object" && value !== null;
    return new UserError("a GGUF has a value that is not read", {
      file: this.where,
      key,
      expected,
      got: value === undefined ? "nothing" : isLong ? "a list" : String(value).slice(0, 200),
    });
  }

  private read<T>(key: string, otherwise: T | undefined, expected: string, isRight: (value: GgufValue) => boolean): T {
    const value = this.metadata.get(key);
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (value === undefined || !isRight(value)) throw this.wrong(key, expected);
    return value as T;
  }
}
