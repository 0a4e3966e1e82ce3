import { mkdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { columnsOfTask, itemOf, type ChoiceItem } from "../../../core/benchmark/item.js";
import type { ChoiceTask } from "../../../core/config/choice-task.js";
import { parseSource, placeOf } from "../../../core/config/source-ref.js";
import { UserError } from "../../../core/errors.js";
import type { Artifact } from "../../../core/stages/results.js";
import type { SourceRow } from "../../../infra/dataset/row.js";
import { readRows } from "../../../infra/dataset/rows.js";
import { artifactOf, writeFileAtomic } from "../../../infra/disk/files.js";
import { getSource } from "../../download/fetch-plan.js";
import { planLocal, planRemote, type Places } from "../../download/source-plan.js";

/** The items of multiple-choice tasks: they are fetched as a dataset is, and read. */

/** How the fetching of items is watched and ended. */
export interface FetchContext {
  readonly signal: AbortSignal;
  say(note: string): void;
}

/** Fetches the files of a task's items, what is not there yet, and links them below `directory`. Throws UserError that names the task. */
export async function fetchTaskData(places: Places, directory: string, task: ChoiceTask, { signal, say }: FetchContext): Promise<Artifact> {
  const { name, source } = task;
  try {
    say(`looking at the items of ${name}: ${source}`);
    const plan = (await planLocal(places, "dataset", source)) ?? (await planRemote(places, "dataset", source, null, signal, say));
    if (plan.kind === "remote") await plan.remote.checkSpace(await plan.remote.missing(plan.files));
    const at = join(directory, name);
    await mkdir(at, { recursive: true });
    const { artifact } = await getSource(at, plan, { signal, onBytes: () => undefined, onNote: say });
    return artifact;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const remedy = `set evaluate.tasks.data.${name} to the items' place, or leave the task out of evaluate.tasks.names`;
    throw new UserError(`the items of the task ${name} cannot be had: ${error.message}; ${remedy}`, {}, { cause: error });
  }
}

/** Reads a task's items, the first `limit` of them. Throws UserError that names the task, and the file and the item that lacks something. */
export async function readItems(task: ChoiceTask, data: Artifact, limit: number | null, signal: AbortSignal): Promise<ChoiceItem[]> {
  const items: ChoiceItem[] = [];
  try {
    for await (const { rows, file } of readRows(fileURLToPath(data.uri), signal, columnsOfTask(task)))
      for (const row of rows) {
        if (items.length === limit) return items;
        items.push(readItem(task, row, { file, item: items.length + 1 }));
      }
    if (items.length === 0) throw new UserError("there is none", { source: task.source });
    return items;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`the items of the task ${task.name} cannot be used: ${error.message}`, {}, { cause: error });
  }
}

function readItem(task: ChoiceTask, row: SourceRow, where: { readonly file: string; readonly item: number }): ChoiceItem {
  try {
    if ("problem" in row) throw new UserError(row.problem);
    return itemOf(task, row.fields);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(error.message, where, { cause: error });
  }
}

/** Where items came from, for everybody: of a local file just its name. */
export function placeOfData({ source }: ChoiceTask, { origin }: Artifact): string {
  const choice = source.slice(placeOf(source).length);
  const ref = parseSource(source);
  return `${origin?.uri ?? ("path" in ref ? basename(ref.path) : placeOf(source))}${choice}`;
}

/** The items that an evaluation has fetched, so that it goes on with the same ones. */
export class FetchedData {
  private readonly path: string;
  private readonly known: Map<string, { readonly source: string; readonly artifact: Artifact }>;

  private constructor(path: string, known: FetchedData["known"]) {
    this.path = path;
    this.known = known;
  }

  /** Reads the record in an evaluation's directory, which may be empty. */
  static async open(directory: string): Promise<FetchedData> {
    const path = join(directory, "task-data.json");
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "{}";
      throw error;
    });
    return new FetchedData(path, new Map(Object.entries(JSON.parse(text) as object)));
  }

  /** What was fetched for a task, if its source is still this one and its bytes are the same; null: nothing, or something else. */
  async unchanged({ name, source }: ChoiceTask, signal: AbortSignal): Promise<Artifact | null> {
    const found = this.known.get(name);
    if (found === undefined || found.source !== source) return null;
    const now = await artifactOf(name, fileURLToPath(found.artifact.uri), signal).catch(() => null);
    signal.throwIfAborted();
    return now?.sha256 === found.artifact.sha256 ? found.artifact : null;
  }

  /** The digest of what was fetched for a task; null: nothing, such as for one that takes its items elsewhere. */
  digestOf(task: string): string | null {
    return this.known.get(task)?.artifact.sha256 ?? null;
  }

  /** Records what was fetched for a task; `forget` is called first if other items were used before. */
  async add({ name, source }: ChoiceTask, artifact: Artifact, forget: () => Promise<void>): Promise<void> {
    const before = this.known.get(name);
    this.known.set(name, { source, artifact });
    if (before !== undefined && before.artifact.sha256 !== artifact.sha256) await forget();
    await writeFileAtomic(this.path, `${JSON.stringify(Object.fromEntries(this.known), null, 1)}\n`);
  }
}
