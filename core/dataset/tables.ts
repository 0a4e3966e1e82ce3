import { UserError } from "../errors.js";

/** A table whose own records say which of its files hold its rows: older files stay beside them. */
export interface Table {
  readonly kind: "Delta" | "Iceberg" | "Hudi" | "Spark streaming";
  /** the table's folder below the dataset; "" for the dataset itself */
  readonly folder: string;
}

/** What only a table's own records look like, below its folder; the first group is the folder with a final slash. */
const RECORDS: readonly (readonly [kind: Table["kind"], pattern: RegExp])[] = [
  ["Delta", /^(.*\/)?_delta_log\//],
  ["Iceberg", /^(.*\/)?metadata\/(?:[^/]+\.metadata\.json(?:\.gz)?|version-hint\.text|snap-[^/]+\.avro)$/],
  ["Hudi", /^(.*\/)?\.hoodie(?:\/|_partition_metadata$)/],
  ["Spark streaming", /^(.*\/)?_spark_metadata\//],
];

/** How the current rows of a table become plain files. */
const EXPORT: Readonly<Record<Table["kind"], string>> = {
  Delta: `duckdb -c "COPY (FROM delta_scan('TABLE')) TO 'rows.parquet'"`,
  Iceberg: `duckdb -c "COPY (FROM iceberg_scan('TABLE')) TO 'rows.parquet'"`,
  Hudi: `spark.read.format("hudi").load("TABLE").write.parquet("rows")`,
  "Spark streaming": `spark.read.parquet("TABLE").write.parquet("rows")`,
};

/** The tables among a dataset's files. */
export function tablesAmong(paths: readonly string[]): Table[] {
  const found = new Map<string, Table>();
  for (const path of paths)
    for (const [kind, pattern] of RECORDS) {
      const match = pattern.exec(path);
      const folder = (match?.[1] ?? "").replace(/\/$/, "");
      if (match !== null) found.set(`${kind} ${folder}`, { kind, folder });
    }
  return [...found.values()];
}

/** Whether a file lies in a table's folder. */
export function isInTable({ folder }: Table, path: string): boolean {
  return folder === "" || path.startsWith(`${folder}/`);
}

/** The error for a table whose rows are not read. */
export function tableError({ kind, folder }: Table, where: string, problem: string, file?: string): UserError {
  return new UserError(
    `the files are those of ${kind === "Iceberg" ? "an" : "a"} ${kind} table, and not all of them hold its current rows; ${problem}: export its rows to Parquet files`,
    {
      source: where,
      table: folder === "" ? undefined : folder,
      file,
      how: EXPORT[kind],
    },
  );
}
