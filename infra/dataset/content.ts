import { UserError } from "../../core/errors.js";
import { refuseLfsContent } from "../disk/lfs-pointer.js";

/** Bytes from the start of a file that `contentOf` looks at. */
export const HEAD_BYTES = 8192;

/** What a data file's first bytes are; `what` and `advice` are of what is not read, and FILE in the advice stands for the file. */
export type Content =
  | { readonly kind: "text" | "gzip" | "zstd" | "parquet" | "arrow" }
  | { readonly kind: "unreadable"; readonly what: string; readonly advice: string };

interface Signature {
  readonly at?: number;
  readonly bytes: string;
  readonly content: Content;
}

const unreadable = (what: string, advice: string): Content => ({ kind: "unreadable", what, advice });
const starts = (bytes: string, content: Content, at = 0): Signature => ({ bytes, content, at });

const SIGNATURES: readonly Signature[] = [
  starts("\x1f\x8b\x08", { kind: "gzip" }),
  starts("\x28\xb5\x2f\xfd", { kind: "zstd" }),
  starts("PAR1", { kind: "parquet" }),
  starts("PARE", unreadable("an encrypted Parquet file", "save its rows without encryption")),
  starts("ARROW1", { kind: "arrow" }),
  starts("\xff\xff\xff\xff", { kind: "arrow" }),
  starts("FEA1", unreadable("a Feather file of version 1", "save its rows as Parquet, or with pyarrow.feather.write_feather")),
  starts("\xfd7zXZ\0", unreadable("compressed with xz", "unpack it with `xz -dc < FILE > NEW`")),
  starts("\x5d\0\0", unreadable("compressed with lzma", "unpack it with `xz -dc --format=lzma < FILE > NEW`")),
  starts("LZIP\x01", unreadable("compressed with lzip", "unpack it with `lzip -dc < FILE > NEW`")),
  starts("\x1f\x9d", unreadable("compressed with compress", "unpack it with `gzip -dc < FILE > NEW`")),
  starts("\x04\x22\x4d\x18", unreadable("compressed with lz4", "unpack it with `lz4 -dc < FILE > NEW`")),
  starts("\xff\x06\0\0sNaPpY", unreadable("compressed with snappy", "unpack it")),
  ...["\x01", "\x9c", "\xda"].map((level) =>
    starts(`x${level}`, unreadable("compressed with zlib (HTTP's deflate)", "unpack it with `pigz -dcz < FILE > NEW`")),
  ),
  starts("7z\xbc\xaf\x27\x1c", unreadable("a 7-Zip archive", "unpack it with `7z x FILE`")),
  starts("Rar!\x1a\x07", unreadable("a rar archive", "unpack it with `unrar x FILE`")),
  starts("ustar", unreadable("a tar archive", "unpack it with `tar -xf FILE`"), 257),
  starts("SQLite format 3\0", unreadable("an SQLite database", "export its rows as CSV or JSON")),
  starts("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", unreadable("an old Excel workbook", "save it as CSV")),
  starts("\x93NUMPY", unreadable("a NumPy file", "save its rows as JSON")),
  starts("\x89HDF\r\n\x1a\n", unreadable("an HDF5 file", "save its rows as Parquet or JSON")),
  starts("Obj\x01", unreadable("an Avro file", "save its rows as Parquet or JSON")),
  starts("ORC", unreadable("an ORC file", "save its rows as Parquet or JSON")),
  starts("%PDF-", unreadable("a PDF document", "save its rows as JSON")),
];

/** What a file is by its first HEAD_BYTES bytes, or all of a shorter one, whatever its name. */
export function contentOf(head: Uint8Array): Content {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, HEAD_BYTES)).toString("latin1");
  if (/^BZh[1-9](1AY&SY|\x17rE8P\x90)/.test(text)) return unreadable("compressed with bzip2", "unpack it with `bzip2 -dc < FILE > NEW`");
  if (/^PK(\x03\x04|\x05\x06)/.test(text)) return zipContent(text);
  const found = SIGNATURES.find(({ bytes, at = 0 }) => text.startsWith(bytes, at));
  if (found !== undefined) return found.content;
  if (/^[\x50-\x5f]\x2a\x4d\x18/.test(text)) return { kind: "zstd" };
  if (/^\x80[\x02-\x05]/.test(text)) return unreadable("a Python pickle", "save its rows as JSON");
  return textContent(text);
}

function zipContent(text: string): Content {
  if (text.includes("xl/")) return unreadable("an Excel workbook", "save it as CSV");
  if (text.includes("mimetypeapplication/vnd.oasis")) return unreadable("a spreadsheet", "save it as CSV");
  if (/\.npy/.test(text)) return unreadable("a NumPy archive", "save its rows as JSON");
  return unreadable("a zip archive", "unpack it with `unzip FILE`");
}

function textContent(text: string): Content {
  const begin = text
    .replace(/^\xef\xbb\xbf/, "")
    .trimStart()
    .slice(0, 2048)
    .toLowerCase();
  if (/^<(!doctype html|html|head|body|!--)/.test(begin) || /^<\?xml[^>]*>\s*<(!doctype )?html/.test(begin))
    return unreadable("a web page, not data", "download the file again; its server may ask for a login first");
  if (begin.startsWith("<?xml") || begin.startsWith("<error>"))
    return unreadable("an XML document", "if a server answered with an error, download the file again; else save its rows as JSON");
  const first = text.slice(0, 1024);
  if (isWide(first)) return unreadable("UTF-16 or UTF-32", "save it as UTF-8");
  // eslint-disable-next-line no-control-regex
  const controls = first.match(/[\0-\x08\x0e-\x1a\x1c-\x1f]/g)?.length ?? 0;
  if (first.includes("\0") || controls * 10 > first.length)
    return unreadable("not text", "if it is compressed (with brotli?), unpack it; else save its rows as JSON, CSV or Parquet");
  return { kind: "text" };
}

/** Whether bytes are those of UTF-16 or UTF-32: a mark, or zeros at every second place. */
function isWide(first: string): boolean {
  if (/^(\xff\xfe|\xfe\xff|\0\0\xfe\xff)/.test(first)) return true;
  const zerosAt = (odd: number): number => [...first].filter((byte, at) => at % 2 === odd && byte === "\0").length;
  const places = Math.floor(first.length / 2);
  if (places === 0) return false;
  const [even, odd] = [zerosAt(0), zerosAt(1)];
  // in UTF-32 three bytes of four are zeros; in either, text of other scripts has fewer
  return (even > places / 4 && odd * 4 < even) || (odd > places / 4 && even * 4 < odd) || even + odd > places;
}

/** Throws UserError if a file's first bytes are those of a thing that is not read; `unpacked` names what it was unpacked from. */
export function refuseUnreadable(content: Content, head: Uint8Array, file: string, unpacked?: string): void {
  refuseLfsContent(head, file);
  const inside = unpacked === undefined ? {} : { inside: unpacked };
  if (content.kind === "unreadable")
    throw new UserError(`a data file is ${content.what}: ${content.advice.replace("FILE", file)}`, { file, ...inside });
}
