// The rows of a dataset as Roslin reads them, one JSON object a line, a bad row as a string: node formats.mjs PATH COLUMN… (see formats.py).
const [path, ...columns] = process.argv.slice(2);
const { pathToFileURL } = await import("node:url");
const { localFiles } = await import("../../dist/activities/download/source-plan.js");
const { readRows } = await import("../../dist/infra/dataset/rows.js");
const { signal } = new AbortController();
async function* batches() {
  // a directory's own records say which of its files hold rows
  for (const file of await localFiles("dataset", pathToFileURL(path).href)) yield* readRows(file, signal, columns);
}
for await (const { rows } of batches()) {
  const lines = rows.map((row) =>
    JSON.stringify("fields" in row ? Object.fromEntries(columns.map((name) => [name, row.fields[name] ?? null])) : row.problem),
  );
  if (lines.length > 0 && !process.stdout.write(`${lines.join("\n")}\n`))
    await new Promise((resolve) => process.stdout.once("drain", resolve));
}
