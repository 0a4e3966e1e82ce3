import { UserError } from "../../core/errors.js";
import { unreadableHead, type Unread } from "../../core/rows/unread-files.js";
import { refuseLfsContent } from "../disk/lfs-pointer.js";

/** Bytes from the start of a file that `contentOf` looks at. */
export const HEAD_BYTES = 8192;

/** What a data file's first bytes are. */
export type Content = { readonly kind: "text" | "gzip" | "zstd" | "parquet" | "arrow" } | (Unread & { readonly kind: "unreadable" });

const unreadable = (what: string, advice: string): Content => ({ kind: "unreadable", what, advice });

/** What is read and is not text. */
const READABLE: readonly (readonly [head: RegExp, kind: "gzip" | "zstd" | "parquet" | "arrow"])[] = [
  [/^\x1f\x8b\x08/, "gzip"],
  [/^(\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)/, "zstd"],
  [/^PAR1/, "parquet"],
  [/^(ARROW1|\xff\xff\xff\xff)/, "arrow"],
];

/** What a file is by its first HEAD_BYTES bytes, or all of a shorter one, whatever its name. */
export function contentOf(head: Uint8Array): Content {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, HEAD_BYTES)).toString("latin1");
  const readable = READABLE.find(([start]) => start.test(text));
  if (readable !== undefined) return { kind: readable[1] };
  const unread = unreadableHead(text);
  return unread === null ? textContent(text) : { kind: "unreadable", ...unread };
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
