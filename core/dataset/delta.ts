import { z } from "zod";
import { tableError, type Table } from "./tables.js";
import type { Texts } from "./saved.js";

/**
 * A Delta table's log, as far as it is read: the JSON commits from version 0 on, which add and remove files. What needs more is
 * refused by name: commits that only a checkpoint holds, deletion vectors, mapped columns, columns that are kept in the log alone
 * (a partition's), and features of the protocol that are not known here.
 */

const action = z.looseObject({
  add: z.looseObject({ path: z.string().min(1), deletionVector: z.unknown().optional() }).nullish(),
  remove: z.looseObject({ path: z.string().min(1) }).nullish(),
  metaData: z
    .looseObject({
      partitionColumns: z.array(z.string()).nullish(),
      configuration: z.record(z.string(), z.unknown()).nullish(),
      format: z.looseObject({ provider: z.string() }).nullish(),
      schemaString: z.string().nullish(),
    })
    .nullish(),
  protocol: z.looseObject({ minReaderVersion: z.number(), readerFeatures: z.array(z.string()).nullish() }).nullish(),
});
type Action = z.infer<typeof action>;

/** Features that change nothing while no file and no column uses them, which is looked at. */
const HARMLESS =
  /^(deletionVectors|columnMapping|timestampNtz|v2Checkpoint|vacuumProtocolCheck|typeWidening(-preview)?|variantType(-preview)?|variantShredding(-preview)?)$/;

/** The log's commits in order. Throws UserError if one is missing, so that a checkpoint would be needed. */
export function deltaCommits(table: Table, paths: readonly string[], where: string): string[] {
  const log = table.folder === "" ? "_delta_log/" : `${table.folder}/_delta_log/`;
  const names = paths.filter((path) => path.startsWith(log)).map((path) => path.slice(log.length));
  const commits = names.filter((name) => /^\d{20}\.json$/.test(name)).toSorted();
  const versions = names.flatMap((name) => /^(?:\d{20}\.)?(\d{20})\.(?:json$|checkpoint\.|compacted\.)/.exec(name)?.[1] ?? []);
  const last = Math.max(-1, ...versions.map(Number));
  const gap = commits.findIndex((name, version) => Number(name.slice(0, 20)) !== version);
  const missing = gap >= 0 ? gap : commits.length <= last || commits.length === 0 ? commits.length : -1;
  if (missing >= 0) throw tableError(table, where, `its log lacks the commit of version ${missing}, and checkpoints are not read`);
  return commits.map((name) => `${log}${name}`);
}

/** The files that hold a table's rows now. Throws UserError for what is not read, and for files that are missing. */
export function deltaFiles(table: Table, commits: Texts, paths: readonly string[], where: string): ReadonlySet<string> {
  const active = new Map<string, { readonly hasDeletions: boolean; readonly commit: string }>();
  let latest: Action = {};
  for (const [commit, text] of commits) {
    const refuse = (problem: string): never => {
      throw tableError(table, where, problem, commit);
    };
    for (const line of text.split("\n")) {
      if (line.trim() === "") continue;
      const { add, remove, ...others } = parseAction(line, refuse);
      if (remove != null) active.delete(pathIn(table, remove.path, refuse));
      if (add != null) active.set(pathIn(table, add.path, refuse), { hasDeletions: add.deletionVector != null, commit });
      latest = { metaData: others.metaData ?? latest.metaData, protocol: others.protocol ?? latest.protocol };
    }
  }
  const problem = unreadable(latest);
  if (problem !== null) throw tableError(table, where, problem);
  const present = new Set(paths);
  for (const [path, { hasDeletions, commit }] of active) {
    if (hasDeletions) throw tableError(table, where, "rows of a file are deleted by a deletion vector", commit);
    if (!present.has(path)) throw tableError(table, where, `the file ${path} that its log names is missing`, commit);
  }
  return new Set(active.keys());
}

/** What the table's latest metadata and protocol ask for that is not read; null: nothing. */
function unreadable({ metaData, protocol }: Action): string | null {
  if ((metaData?.configuration?.["delta.columnMapping.mode"] ?? "none") !== "none")
    return "its columns have other names in the files (column mapping)";
  const partitions = metaData?.partitionColumns ?? [];
  if (partitions.length > 0) return `its columns ${partitions.join(", ")} are kept in the log alone (partitions)`;
  const schema = metaData?.schemaString ?? "";
  if (schema.includes('"variant"') || schema.includes("delta.typeChanges"))
    return "its columns have a type that is not read (variants, or a type that changed)";
  const provider = metaData?.format?.provider ?? "parquet";
  if (provider !== "parquet") return `its files are in the format ${provider}`;
  const unknown = (protocol?.readerFeatures ?? []).find((feature) => !HARMLESS.test(feature));
  if (unknown !== undefined) return `it needs the feature ${unknown}, which is not read`;
  return (protocol?.minReaderVersion ?? 0) > 3 ? `it needs version ${protocol!.minReaderVersion} of the protocol, which is not read` : null;
}

function parseAction(line: string, refuse: (problem: string) => never): Action {
  try {
    return action.parse(JSON.parse(line));
  } catch {
    return refuse("a line of its log cannot be read");
  }
}

/** A path of the log, percent-encoded and below the table. */
function pathIn({ folder }: Table, path: string, refuse: (problem: string) => never): string {
  if (/^[a-z][a-z\d+.-]*:|^\//i.test(path)) return refuse("its log names files outside the table (a shallow clone)");
  try {
    return `${folder === "" ? "" : `${folder}/`}${decodeURIComponent(path)}`;
  } catch {
    return refuse("its log names a file by a path that is not percent-encoded");
  }
}
