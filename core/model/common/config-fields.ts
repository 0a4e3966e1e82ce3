import { UserError } from "../../errors.js";

const MAX_LAYERS = 10_000;

/** The fields of a config.json, each checked when it is read. */
export class ConfigFields {
  readonly where: string;
  private readonly fields: Readonly<Record<string, unknown>>;

  /** `where` is the file's name. Throws UserError unless `json` is an object. */
  constructor(json: unknown, where: string) {
    if (typeof json !== "object" || json === null) throw new UserError("a model's config must be a JSON object", { file: where });
    this.fields = json as Readonly<Record<string, unknown>>;
    this.where = where;
  }

  get(field: string): unknown {
    return this.fields[field];
  }

  /** Whether a field is there, and be it null. */
  has(field: string): boolean {
    return this.fields[field] !== undefined;
  }

  /** Throws the UserError that names a field, and what was expected of it. */
  fail(field: string, expected: string, got: unknown = this.fields[field]): never {
    throw new UserError(`this model is not one that Roslin can train: ${field}`, { file: this.where, expected, got: JSON.stringify(got) });
  }

  /** A positive whole number; a field that is absent or null has the fallback, where there is one. */
  integer(field: string, fallback?: number): number {
    const value = this.fields[field] ?? fallback;
    return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : this.fail(field, "a positive whole number");
  }

  /** How many layers there are; names of billions of weights would fill the memory before the first of them is missed. */
  layers(field: string, fallback?: number): number {
    const layers = this.integer(field, fallback);
    return layers <= MAX_LAYERS ? layers : this.fail(field, `at most ${MAX_LAYERS}`);
  }

  /** Shares of dropout above 0 by their fields, as a shape has them. */
  dropout(...fields: readonly string[]): { readonly dropout?: Readonly<Record<string, number>> } {
    const shares = fields.flatMap((field): [string, number][] => {
      const share = this.fields[field] ?? 0;
      if (typeof share !== "number" || share < 0 || share > 1)
        return this.fail(field, "a share from 0 to 1, of dropout, which is not applied");
      return share === 0 ? [] : [[field, share]];
    });
    return shares.length === 0 ? {} : { dropout: Object.fromEntries(shares) };
  }

  /** Refuses weights that were quantized for another library. */
  refuseQuantized(): void {
    if (this.fields["quantization_config"] != null) this.fail("quantization_config", "absent: Roslin trains no quantized weights");
  }

  /** A number from `least` on. */
  number(field: string, fallback: number, least: number): number {
    const value = this.fields[field] ?? fallback;
    return typeof value === "number" && value >= least ? value : this.fail(field, `a number, not below ${least}`);
  }

  /** true or false; absent or null is false. */
  flag(field: string): boolean {
    const value = this.fields[field] ?? false;
    return typeof value === "boolean" ? value : this.fail(field, "true or false");
  }

  /** Refuses a field that has another value than these; absent or null stands for the first. */
  oneOf(field: string, ...allowed: readonly unknown[]): void {
    const value = this.fields[field] ?? allowed[0];
    if (!allowed.includes(value)) this.fail(field, allowed.map(String).join(" or "));
  }
}
