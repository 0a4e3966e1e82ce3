import { createHash, webcrypto } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";

/** A file's digests: its own, and those of the parts in which it is sent to S3, made in one reading. */

const MIB = 1 << 20;
/** MiB of a part: a kill loses the parts under way, and each part costs the server some work, so larger files get larger parts. */
const PART = { least: 8, usual: 32, count: 64 };

/** A part's number and byte range. */
export interface Part {
  readonly part: number;
  readonly start: number;
  readonly end: number;
}

/** The byte ranges of a file's parts, at least 8 MiB each, 32 from 2 GiB on, and at most 10,000 of them: S3's own bound. */
export function planParts(size: number): Part[] {
  const wanted = Math.min(PART.usual, Math.ceil(size / MIB / PART.count));
  const partBytes = Math.max(PART.least, wanted, Math.ceil(size / MIB / 10_000)) * MIB;
  return Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => ({
    part: index + 1,
    start: index * partBytes,
    end: Math.min(size, (index + 1) * partBytes),
  }));
}

/** The digests that a file is known by, all of them SHA-256. */
export interface FileDigest {
  readonly bytes: number;
  /** of the whole, in hex */
  readonly sha256: string;
  /** of each of its parts, in base64 as S3 has it */
  readonly parts: readonly string[];
}

/** Digests a file, whole and by parts, each on a core of its own. */
export async function digestFile(path: string, signal?: AbortSignal): Promise<FileDigest> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const plan = planParts(size);
    const whole = createHash("sha256");
    const parts: string[] = [];
    const buffer = new Uint8Array(plan[0]?.end ?? 0);
    for (const part of plan) {
      signal?.throwIfAborted();
      const bytes = await readPart(file, path, part, buffer);
      // in a thread of Node's pool, while this one digests the whole
      const own = plan.length > 1 ? webcrypto.subtle.digest("SHA-256", bytes) : null;
      whole.update(bytes);
      if (own !== null) parts.push(Buffer.from(await own).toString("base64"));
    }
    const sha256 = whole.digest("hex");
    return { bytes: size, sha256, parts: plan.length > 1 ? parts : [Buffer.from(sha256, "hex").toString("base64")] };
  } finally {
    await file.close();
  }
}

/** Reads one part of an open file into the beginning of a buffer. */
export async function readPart(
  file: FileHandle,
  path: string,
  { start, end }: Part,
  into: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = into.subarray(0, end - start);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
  if (bytesRead !== bytes.length) throw new Error(`a file shrank while it was read [file=${path}]`);
  return bytes;
}

/** The id that git gives a file's bytes. */
export async function gitBlobId(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha1").update(`blob ${(await stat(path)).size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) {
    signal?.throwIfAborted();
    hash.update(chunk as Buffer);
  }
  return hash.digest("hex");
}

/** The SHA-256 that S3 keeps of a file; of a file that came in parts, the SHA-256 of the parts' digests, and their number. */
export function checksumOf({ parts }: FileDigest): string {
  if (parts.length === 1) return parts[0]!;
  const joined = Buffer.concat(parts.map((each) => Buffer.from(each, "base64")));
  return `${createHash("sha256").update(joined).digest("base64")}-${parts.length}`;
}
