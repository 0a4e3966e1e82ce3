import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { localFiles } from "../../activities/download/source-plan.js";
import { parseRunConfig, type RunConfig } from "../../core/config/schema.js";
import { chooseReading, columnList } from "../../core/rows/row-reading.js";
import { COLUMNS } from "../../core/rows/row-rules.js";
import { UserError } from "../../core/errors.js";
import { demoConfig } from "../../demo/config.js";
import { REAL_ROWS, realConfig } from "../../demo/real.js";
import { readRows } from "../../infra/dataset/rows.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";

/** The most rows of a user's file that are held out; else one in ten. */
const MOST_TEST_ROWS = 64;
/** Fewer rows say nothing: one in five is held out. */
const LEAST_ROWS = 20;

/** The demo's run, with the user's own dataset file or model directory if one is named. Throws UserError. */
export async function demoRunConfig(dataset: string | undefined, model: string | undefined): Promise<RunConfig> {
  const config = parseRunConfig(demoConfig({ dataset: dataset !== undefined, model: model !== undefined }));
  const changed = {
    ...config,
    ...(dataset === undefined
      ? {}
      : {
          dataset: { ...config.dataset, source: fileSource("--dataset", dataset) },
          preprocess: { ...config.preprocess, testRows: await testRows(dataset) },
        }),
  };
  if (model === undefined) return changed;
  // before the run starts, and by the option's name
  if (!existsSync(join(model, "config.json")))
    throw new UserError("--model must name a model directory, with config.json in it", { got: model });
  const source = fileSource("--model", model);
  await localFiles("model", source);
  const { positions } = readModelConfig(model).shape;
  const maxLength = Math.min(changed.preprocess.maxLength, positions);
  return { ...changed, model: { source }, preprocess: { ...changed.preprocess, maxLength } };
}

/** The run with the real base, on the user's rows or the hub's; `base`: where its file is or will be. Throws UserError for rows that cannot be used. */
export async function realRunConfig(base: string, rows: string | undefined): Promise<RunConfig> {
  const model = pathToFileURL(base).href;
  if (rows === undefined) return parseRunConfig(realConfig(model, REAL_ROWS, null));
  const source = fileSource("--rows", rows);
  const count = await countRows(source);
  if (count < LEAST_ROWS)
    throw new UserError("--rows names too few rows to train on some and judge by others", {
      file: rows,
      expected: `at least ${LEAST_ROWS}`,
      got: count,
    });
  return parseRunConfig(realConfig(model, source, count));
}

function fileSource(option: string, path: string): string {
  if (!existsSync(path)) throw new UserError(`${option} names a path that does not exist`, { got: path });
  return pathToFileURL(realpathSync(path)).href;
}

async function testRows(dataset: string): Promise<number> {
  return Math.min(MOST_TEST_ROWS, Math.floor((await countRows(fileSource("--dataset", dataset))) / 10));
}

/** How many rows a source on this machine has. Throws UserError for columns that no run could use. */
async function countRows(source: string): Promise<number> {
  let rows = 0;
  for (const file of await localFiles("dataset", source))
    for await (const batch of readRows(file, new AbortController().signal, COLUMNS)) {
      if (rows === 0 && batch.rows.length > 0 && chooseReading(batch, parseRunConfig({}).dataset) === null)
        throw new UserError("the rows' columns are of no format that Roslin knows by name", {
          file,
          expected: "instruction, input and output; or messages; or conversations; or input_ids and labels",
          got: `columns ${columnList(batch.columns.slice(0, 20))}`,
        });
      rows += batch.rows.length;
    }
  return rows;
}
