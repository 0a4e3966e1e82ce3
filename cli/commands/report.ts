import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { reportPage } from "../../activities/report/report-page.js";
import { UserError } from "../../core/errors.js";
import { writeFileAtomic } from "../../infra/disk/files.js";
import type { Command } from "../shell/command.js";
import { openRun, RUN_WORDS } from "../machine/open-run.js";

/** `roslin report`: a run on one page, finished or not. */
export const report: Command = {
  name: "report",
  summary: "write the report of a run as one HTML file, also while it trains or after it failed",
  usage: `report RUN [--out FILE]\n${RUN_WORDS}; FILE: report.html unless named`,
  async run(args, environment) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: { out: { type: "string" } } });
    const [run] = positionals;
    if (run === undefined || positionals.length > 1)
      throw new UserError("name one run: a workflow's id, or the stages' --dir", {
        got: positionals.length === 0 ? "none" : positionals.join(" "),
      });
    const path = resolve(values.out ?? "report.html");
    const story = await openRun(run, environment);
    await writeFileAtomic(path, reportPage(story));
    if (story.unfinished !== undefined) console.error(`roslin: ${story.unfinished}`);
    console.log(pathToFileURL(path).href);
    return 0;
  },
};
