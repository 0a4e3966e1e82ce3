/** Endings of data files. The first that is found wins, because a repository often holds the same rows in several formats. */
export const FORMATS = [".parquet", ".jsonl", ".json", ".csv"] as const;

/** The ending that tells how a data file is read. */
export type DataFormat = (typeof FORMATS)[number];

/** The formats for people. */
export const DATA_FORMATS: string = FORMATS.join(" ");

/** The format of a file by its name; null if it is not a data file. */
export function formatOf(path: string): DataFormat | null {
  return FORMATS.find((format) => path.toLowerCase().endsWith(format)) ?? null;
}
