import { join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { findGarbage, finishRemovals, removeGarbage } from "../../activities/garbage.js";
import type { RunConfig } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";
import { bytes } from "../../core/units.js";
import { lock } from "../../infra/lock.js";
import { openStore } from "../../infra/store/open.js";
import { s3SettingsOf } from "../../infra/store/s3.js";
import { withTarget } from "../../workers/artifact-deps.js";
import { withClient } from "../../workers/client.js";
import type { Environment } from "../../workers/environment.js";
import { runsThatMayGoOn } from "../../workers/runs.js";
import type { Command } from "../command.js";
import { temporalVariables } from "../state.js";
import { withS3 } from "../with-s3.js";
import { readConfig } from "./stage.js";

/** `roslin gc`: the stages' directories that no run needs. */
export const gc: Command = {
  name: "gc",
  summary: "remove what no run needs, after saying what and how much",
  usage:
    "gc [--yes] [--dir DIR --config FILE …]     DIR: stages that were run without Temporal; what a run of a FILE would reuse or go on in is kept",
  async run(args, environment) {
    const { values } = parseArgs({
      args: [...args],
      options: { yes: { type: "boolean" }, dir: { type: "string" }, config: { type: "string", multiple: true } },
    });
    const files = await Promise.all((values.config ?? []).map((file) => readConfig(file)));
    if (values.dir !== undefined) {
      if (values.dir === "" || files.length === 0)
        throw new UserError("gc --dir needs the directory, and --config for every run whose work is to be kept");
      return await collect(
        resolve(values.dir),
        async () => files.map((config) => withTarget(config, environment)),
        values.yes,
        environment,
      );
    }
    return await withClient(await temporalVariables(environment), (client) => {
      const configs = async (): Promise<RunConfig[]> =>
        [...files, ...(await runsThatMayGoOn(client))].map((config) => withTarget(config, environment));
      return collect(join(environment.home, "stages"), configs, values.yes, environment);
    });
  },
};

async function collect(
  root: string,
  configs: () => Promise<RunConfig[]>,
  yes: boolean | undefined,
  environment: Environment,
): Promise<number> {
  await finishRemovals(root);
  const runs = await configs();
  const garbage = await findGarbage(root, runs);
  for (const { directory, bytes: size } of garbage) console.log(`${bytes(size).padStart(9)}  ${directory}`);
  const all = bytes(garbage.reduce((sum, each) => sum + each.bytes, 0));
  const kept = `what ${runs.length === 1 ? "1 run needs" : `${runs.length} runs need`} is kept`;
  if (garbage.length === 0) {
    console.log(`nothing to remove; ${kept}`);
    return 0;
  }
  if (yes !== true && !(await agreed(`Remove these ${garbage.length} directories, ${all}? (${kept}) [y/N] `))) {
    console.error("roslin: nothing was removed; answer y, or call with --yes");
    return 0;
  }
  let freed = 0;
  for (const each of garbage) {
    const stays = await removeGarbage({ lock }, root, each, configs, (journal) => discard(journal, environment)).catch(messageOf);
    if (stays === null) freed += each.bytes;
    else console.log(`stays: ${each.directory}: ${stays}`);
  }
  console.log(`removed ${bytes(freed)}; ${kept}`);
  return 0;
}

/** Asks in a terminal; elsewhere nobody answers. */
async function agreed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    console.log(question.replace(/\? .*/, " with --yes"));
    return false;
  }
  const asking = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await asking.question(question)).trim());
  } finally {
    asking.close();
  }
}

/** The journal itself says in which bucket its upload is. */
async function discard(journal: string, environment: Environment): Promise<void> {
  const bucket = `s3://${environment.bucket}`;
  await withS3(environment, bucket, ({ variables }) => openStore(bucket, s3SettingsOf(variables)).discard(journal));
}
