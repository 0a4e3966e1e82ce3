/** Endings of data files. The first that is found wins, because a repository often holds the same rows in several formats. */
export const FORMATS = [".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".csv", ".tsv"] as const;

/** The ending that tells how a data file is read. */
export type DataFormat = (typeof FORMATS)[number];

/** Formats whose rows are text: their files may be compressed. */
const TEXT_FORMATS: readonly DataFormat[] = [".jsonl", ".ndjson", ".json", ".csv", ".tsv"];
/** Endings of compressed text that is read. */
const COMPRESSIONS = [".gz", ".gzip", ".zst", ".zstd"] as const;

/** The formats for people. */
export const DATA_FORMATS: string = ".parquet .jsonl .json .csv .tsv .ndjson .arrow, and text with .gz or .zst after it";

/** The format of a file by its name, compressed or not; null if it is not a data file. */
export function formatOf(path: string): DataFormat | null {
  const plain = uncompressedName(path).toLowerCase();
  const format = FORMATS.find((ending) => plain.endsWith(ending)) ?? null;
  return format === null || plain.length === path.length || TEXT_FORMATS.includes(format) ? format : null;
}

/** A file's name without the ending of its compression: of rows.json.gz, rows.json. */
export function uncompressedName(path: string): string {
  const ending = COMPRESSIONS.find((compression) => path.toLowerCase().endsWith(compression));
  return ending === undefined ? path : path.slice(0, -ending.length);
}
