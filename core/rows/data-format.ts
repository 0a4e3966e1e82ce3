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

/** Endings of files that may hold rows and are not read: what the file is, and what to do. FILE stands for its name. */
const UNREADABLE: readonly (readonly [ending: RegExp, what: string, advice: string])[] = [
  [/\.(tar|tgz|txz|tbz2?|tar\.\w+)$/i, "a tar archive", "unpack it with `tar -xf FILE`"],
  [/\.xz$/i, "compressed with xz", "unpack it with `xz -d FILE`"],
  [/\.lzma$/i, "compressed with lzma", "unpack it with `xz -d FILE`"],
  [/\.bz2$/i, "compressed with bzip2", "unpack it with `bzip2 -d FILE`"],
  [/\.lz4$/i, "compressed with lz4", "unpack it with `lz4 -d FILE`"],
  [/\.br$/i, "compressed with brotli", "unpack it with `brotli -d FILE`"],
  [/\.(z|lz|snappy|sz)$/i, "compressed", "unpack it"],
  [/\.zip$/i, "a zip archive", "unpack it with `unzip FILE`"],
  [/\.7z$/i, "a 7-Zip archive", "unpack it with `7z x FILE`"],
  [/\.rar$/i, "a rar archive", "unpack it with `unrar x FILE`"],
  [/\.(parquet|arrow|feather)\.(gz|gzip)$/i, "compressed with gzip", "unpack it with `gzip -d FILE`"],
  [/\.(parquet|arrow|feather)\.zstd?$/i, "compressed with zstd", "unpack it with `zstd -d FILE`"],
  [/\.(xlsx?|xlsm|ods)$/i, "a spreadsheet", "save it as CSV"],
  [/\.feather$/i, "an Arrow file under another name", "give it the ending .arrow"],
  [/\.(pkl|pickle)$/i, "a Python pickle", "save its rows as JSON"],
  [/\.(npy|npz)$/i, "a NumPy file", "save its rows as JSON"],
  [/\.(sqlite3?|db)$/i, "a database", "export its rows as CSV"],
  [/\.(avro|orc|h5|hdf5|tfrecord|msgpack)$/i, "a file of a kind that is not read", "save its rows as Parquet or JSON"],
];

/** Why a file that may hold rows is not read, with what to do, by its name: "rows.json.xz is compressed with xz: …"; null if its name says nothing of the kind. */
export function unreadableEnding(path: string): string | null {
  const found = UNREADABLE.find(([ending]) => ending.test(path));
  if (found === undefined) return null;
  const [, what, advice] = found;
  return `${path} is ${what}: ${advice.replace("FILE", path)}`;
}
