import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import { parseGguf } from "../../core/format/gguf.js";
import { directoryOfGguf, type GgufDirectory } from "../../core/model/gguf.js";
import type { Artifact, Origin } from "../../core/stages/results.js";
import { artifactOf, sha256File, writeFileAtomic } from "../../infra/disk/files.js";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";
import type { FetchEvents } from "../../infra/transfer/fetch.js";
import { convertGguf, CONVERTER, readGguf, weightBytes } from "../../infra/weights/convert-gguf.js";
import { isGguf } from "./select.js";
import { pathsOf, type SourcePlan } from "./source-plan.js";

/** A model whose source is a GGUF: it is converted into a directory of Hugging Face's files, which all that follows reads. */

/** Bytes of a remote GGUF that are asked for first; its header may need more. */
const FIRST_BYTES = 2 << 20;
/** Name of the file in a download's directory that says of which GGUF its converted model is. */
const RECORD = "converted.json";

/** Name of the GGUF that a model's plan is; null: it is another kind of source. */
export function ggufOf(plan: SourcePlan): string | null {
  const [path, ...others] = pathsOf(plan);
  return plan.name === "model" && path !== undefined && others.length === 0 && isGguf(path) ? path : null;
}

/** What a plan's GGUF becomes, read from its header; `fetched`: bytes that came over the wire for it. Throws UserError. */
export async function lookAtGguf(
  plan: SourcePlan,
  signal: AbortSignal,
): Promise<{ readonly directory: GgufDirectory; readonly fetched: number }> {
  return await usable(async () => {
    if (plan.kind === "directory") return { directory: readGguf(join(plan.directory, plan.paths[0]!)), fetched: 0 };
    if (plan.kind !== "remote") throw new Error("a plan without files has no GGUF");
    return await lookAtRemote(plan.remote, plan.files[0]!, signal);
  });
}

async function lookAtRemote(remote: Remote, file: RemoteFile, signal: AbortSignal): ReturnType<typeof lookAtGguf> {
  const where = `${file.path} of ${remote.title}`;
  let fetched = 0;
  for (let length = FIRST_BYTES; ; length *= 2) {
    const start = await remote.start(file, Math.min(length, file.bytes), signal);
    if (start === null) return await fetchToLook(remote, file, signal);
    fetched += start.fetched;
    const header = parseGguf(start.bytes, file.bytes, where);
    // small tensors lie anywhere in the file: what they say is looked at when the file is here
    if (header !== null) return { directory: directoryOfGguf(header, () => null, where), fetched };
  }
}

async function fetchToLook(remote: Remote, file: RemoteFile, signal: AbortSignal): ReturnType<typeof lookAtGguf> {
  await remote.checkSpace(await remote.missing([file]));
  const [cached] = await remote.fetch([file], { signal, onBytes: () => undefined, onNote: () => undefined });
  return { directory: readGguf(cached!.blob), fetched: cached!.fetched };
}

/** A GGUF on this machine, and where it came from. */
interface Original {
  readonly path: string;
  /** null: not known yet, because it is the user's own file */
  readonly sha256: string | null;
  readonly origin: Omit<Origin, "gguf">;
  /** its name at its place */
  readonly name: string;
}

/** What a download's directory keeps of its last conversion. */
interface Conversion {
  readonly view: string;
  readonly gguf: string;
  readonly converter: number;
  readonly sha256: string;
}

/** The model directory `view` of a GGUF, made unless it is there. Throws UserError, or NoRoomError. */
export async function convertedModel(
  directory: string,
  view: string,
  { path, sha256, origin, name }: Original,
  { signal, onNote }: FetchEvents,
): Promise<Artifact> {
  const gguf = sha256 ?? (await sha256File(path, signal));
  const now = { view: basename(view), gguf, converter: CONVERTER };
  const from = { origin: { ...origin, gguf: { file: name, sha256: gguf } } };
  const record = await readRecord(join(directory, RECORD));
  if (record !== null && record.view === now.view && record.gguf === gguf && record.converter === CONVERTER) {
    const there = await artifactOf("model", view, signal).catch(() => null);
    signal.throwIfAborted();
    if (there?.sha256 === record.sha256) return { ...there, ...from };
  }
  const total = await usable(async () => weightBytes(readGguf(path)));
  const onBytes = (done: number): void => onNote(`converting ${name}: ${Math.floor((100 * done) / total)} %`);
  const made = await usable(() => convertGguf(path, view, { signal, onBytes }));
  // a file of the user's may change at any time
  if (sha256 === null && (await sha256File(path, signal)) !== gguf)
    throw new UserError("a GGUF changed while it was converted: start again", { file: path });
  await writeFileAtomic(join(directory, RECORD), JSON.stringify({ ...now, sha256: made.sha256 } satisfies Conversion));
  return { name: "model", uri: pathToFileURL(view).href, ...made, ...from };
}

async function readRecord(path: string): Promise<Conversion | null> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Conversion;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Only the user can replace a damaged GGUF, wherever it came from. */
async function usable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error;
    throw new UserError(`the model cannot be used: ${messageOf(error)}. Get the file again`, {}, { cause: error });
  }
}
