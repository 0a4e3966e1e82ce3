/** Kinds of files that may hold rows and are not read, told by their names, by their first bytes, or by both. */

/** What a file is and what to do; FILE in the advice stands for the file. */
export interface Unread {
  readonly what: string;
  readonly advice: string;
}

interface Kind {
  readonly what: string;
  /** `misnamed`: where it differs for a file without the kind's own ending */
  readonly advice: string | { readonly named: string; readonly misnamed: string };
  readonly name?: RegExp;
  /** the file's first bytes, each a character */
  readonly head?: RegExp;
}

/** A program that unpacks only what has its own ending, unless it reads from standard input, where it may need options. */
function unpack(program: string, options = ""): Kind["advice"] {
  return {
    named: `unpack it with \`${program} -d FILE\``,
    misnamed: `unpack it with \`${program} -dc${options} < FILE > NEW\``,
  };
}

const AS_JSON = "save its rows as JSON";
const AS_CSV = "save it as CSV";
const AS_PARQUET = "save its rows as Parquet or JSON";
const FROM_DATABASE = "export its rows as CSV or JSON";

/** The first that fits counts. */
const KINDS: readonly Kind[] = [
  { what: "a tar archive", advice: "unpack it with `tar -xf FILE`", name: /\.(tar|tgz|txz|tbz2?|tar\.\w+)$/i, head: /^[^]{257}ustar/ },
  { what: "compressed with xz", advice: unpack("xz"), name: /\.xz$/i, head: /^\xfd7zXZ\0/ },
  { what: "compressed with lzma", advice: unpack("xz", " --format=lzma"), name: /\.lzma$/i, head: /^\x5d\0\0/ },
  { what: "compressed with bzip2", advice: unpack("bzip2"), name: /\.bz2$/i, head: /^BZh[1-9](1AY&SY|\x17rE8P\x90)/ },
  { what: "compressed with lz4", advice: unpack("lz4"), name: /\.lz4$/i, head: /^\x04\x22\x4d\x18/ },
  { what: "compressed with lzip", advice: unpack("lzip"), name: /\.lz$/i, head: /^LZIP\x01/ },
  { what: "compressed with compress", advice: unpack("gzip"), name: /\.z$/i, head: /^\x1f\x9d/ },
  { what: "compressed with snappy", advice: "unpack it", name: /\.(snappy|sz)$/i, head: /^\xff\x06\0\0sNaPpY/ },
  { what: "compressed with brotli", advice: unpack("brotli"), name: /\.br$/i },
  {
    what: "compressed with zlib (HTTP's deflate)",
    advice: "unpack it with `pigz -dcz < FILE > NEW`",
    head: /^x[\x01\x9c\xda]/,
  },
  // Excel's and others' files are zip archives, too
  { what: "an Excel workbook", advice: AS_CSV, head: /^PK(\x03\x04|\x05\x06)[^]*xl\// },
  {
    what: "a spreadsheet",
    advice: AS_CSV,
    name: /\.(xlsx?|xlsm|ods)$/i,
    head: /^PK(\x03\x04|\x05\x06)[^]*mimetypeapplication\/vnd\.oasis/,
  },
  { what: "a NumPy file", advice: AS_JSON, name: /\.(npy|npz)$/i, head: /^(\x93NUMPY|PK(\x03\x04|\x05\x06)[^]*\.npy)/ },
  { what: "a zip archive", advice: "unpack it with `unzip FILE`", name: /\.zip$/i, head: /^PK(\x03\x04|\x05\x06)/ },
  { what: "a 7-Zip archive", advice: "unpack it with `7z x FILE`", name: /\.7z$/i, head: /^7z\xbc\xaf\x27\x1c/ },
  { what: "a rar archive", advice: "unpack it with `unrar x FILE`", name: /\.rar$/i, head: /^Rar!\x1a\x07/ },
  { what: "compressed with gzip", advice: unpack("gzip"), name: /\.(parquet|arrow|feather)\.(gz|gzip)$/i },
  { what: "compressed with zstd", advice: unpack("zstd"), name: /\.(parquet|arrow|feather)\.zstd?$/i },
  { what: "an encrypted Parquet file", advice: "save its rows without encryption", head: /^PARE/ },
  { what: "a Feather file of version 1", advice: "save its rows as Parquet, or with pyarrow.feather.write_feather", head: /^FEA1/ },
  { what: "an Arrow file under another name", advice: "give it the ending .arrow", name: /\.feather$/i },
  { what: "an old Excel workbook", advice: AS_CSV, head: /^\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1/ },
  { what: "a Python pickle", advice: AS_JSON, name: /\.(pkl|pickle)$/i, head: /^\x80[\x02-\x05]/ },
  { what: "an SQLite database", advice: FROM_DATABASE, name: /\.sqlite3?$/i, head: /^SQLite format 3\0/ },
  { what: "a database", advice: FROM_DATABASE, name: /\.db$/i },
  { what: "an HDF5 file", advice: AS_PARQUET, name: /\.(h5|hdf5)$/i, head: /^\x89HDF\r\n\x1a\n/ },
  { what: "an Avro file", advice: AS_PARQUET, name: /\.avro$/i, head: /^Obj\x01/ },
  { what: "an ORC file", advice: AS_PARQUET, name: /\.orc$/i, head: /^ORC/ },
  { what: "a PDF document", advice: AS_JSON, head: /^%PDF-/ },
  { what: "a file of a kind that is not read", advice: AS_PARQUET, name: /\.(tfrecord|msgpack)$/i },
];

/** Why a file that may hold rows is not read, with what to do, by its name: "rows.json.xz is compressed with xz: …"; null if its name says nothing of the kind. */
export function unreadableEnding(path: string): string | null {
  const kind = KINDS.find(({ name }) => name?.test(path));
  if (kind === undefined) return null;
  const { what, advice } = kind;
  return `${path} is ${what}: ${(typeof advice === "string" ? advice : advice.named).replace("FILE", path)}`;
}

/** What a file is by its first bytes, each of which is a character, whatever its name; null if they say nothing of the kind. */
export function unreadableHead(text: string): Unread | null {
  const kind = KINDS.find(({ head }) => head?.test(text));
  if (kind === undefined) return null;
  const { what, advice } = kind;
  return { what, advice: typeof advice === "string" ? advice : advice.misnamed };
}
