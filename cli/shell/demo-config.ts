import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { localFiles } from "../../activities/download/source-plan.js";
import { parseRunConfig, type RunConfig } from "../../core/config/schema.js";
import { COLUMNS } from "../../core/rows/row-rules.js";
import { UserError } from "../../core/errors.js";
import { demoConfig } from "../../demo/config.js";
import { readRows } from "../../infra/dataset/rows.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";

/** The most rows of a user's file that are held out; else one in ten. */
const MOST_TEST_ROWS = 64;

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

function fileSource(option: string, path: string): string {
  if (!existsSync(path)) throw new UserError(`${option} names a path that does not exist`, { got: path });
  return pathToFileURL(realpathSync(path)).href;
}

async function testRows(dataset: string): Promise<number> {
  if (!existsSync(dataset)) throw new UserError("--dataset names a path that does not exist", { got: dataset });
  let rows = 0;
  for (const file of await localFiles("dataset", pathToFileURL(realpathSync(dataset)).href))
    for await (const batch of readRows(file, new AbortController().signal, COLUMNS)) rows += batch.rows.length;
  return Math.min(MOST_TEST_ROWS, Math.floor(rows / 10));
}
