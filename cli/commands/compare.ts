import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { Evaluation } from "../../activities/evaluate/evaluation.js";
import { comparedModel, comparedStory, compareRuns, type ComparedRun } from "../../activities/report/compare/compared.js";
import { comparePage } from "../../activities/report/compare/compare-page.js";
import { compareText } from "../../activities/report/compare/compare-text.js";
import { CorruptError, UserError } from "../../core/errors.js";
import { REPORT } from "../../core/format/manifest.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import { openPublished } from "../../infra/sources/published.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { readAll } from "../../infra/store/store.js";
import type { Environment } from "../../workers/environment.js";
import { withS3 } from "../machine/with-s3.js";
import type { Command } from "../shell/command.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { openRun, RUN_WORDS } from "../machine/open-run.js";

/** `roslin compare`: runs side by side. */
export const compare: Command = {
  name: "compare",
  summary: "show which settings of runs differ, and their scores and curves side by side",
  usage: `compare RUN RUN… [--json] [--html FILE]\n${RUN_WORDS}, or the s3://, file:// or hf:// address of a published model`,
  async run(args, environment) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { json: { type: "boolean" }, html: { type: "string" } },
    });
    if (positionals.length < 2)
      throw new UserError("name two runs or more", { got: positionals.length === 0 ? "none" : positionals.join(" ") });
    const runs: ComparedRun[] = [];
    for (const run of positionals)
      runs.push(/^(s3|file|hf):\/\//.test(run) ? await published(run, environment) : comparedStory(run, await openRun(run, environment)));
    if (values.html !== undefined) {
      await writeFileAtomic(resolve(values.html), comparePage(runs));
      console.error(`roslin: ${pathToFileURL(resolve(values.html)).href}`);
    }
    const comparison = compareRuns(runs);
    console.log(values.json === true ? JSON.stringify(comparison) : compareText(comparison));
    return 0;
  },
};

/** A published model, by its manifest and its evaluation, whose digest must be the manifest's. */
function published(uri: string, environment: Environment): Promise<ComparedRun> {
  return untilInterrupted((signal) =>
    withS3(environment, uri, signal, async ({ variables }) => {
      const { store, manifest, uri: place } = await openPublished(uri, { ...s3SettingsOf(variables), hub: environment.hub }, signal);
      const bytes = await readAll(store, REPORT);
      const expected = manifest.files.find(({ name }) => name === REPORT)?.sha256;
      if (bytes === null || sha256(bytes) !== expected)
        throw new CorruptError(`${REPORT} of a published model is not what its manifest names`, {
          uri: place,
          expected,
          got: bytes === null ? "nothing" : sha256(bytes),
        });
      return comparedModel(manifest, JSON.parse(bytes.toString("utf8")) as Evaluation);
    }),
  );
}
