import { join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { findGarbage, finishRemovals, removeGarbage, sizeBelow, type KeptRun } from "../../activities/cleanup/garbage.js";
import { findSpareObjects, removeSpareObject } from "../../activities/cleanup/spare-objects.js";
import { withTarget } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";
import { bytes, duration } from "../../core/units.js";
import { openStore } from "../../infra/store/open-store.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import { defaultTarget } from "../../workers/artifact-deps.js";
import { withClient } from "../../workers/client.js";
import type { Environment } from "../../workers/environment.js";
import { runsThatMayGoOn } from "../../workers/runs.js";
import type { Command } from "../shell/command.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { retentionOf } from "../machine/retention.js";
import { temporalVariables } from "../machine/server-variables.js";
import { withS3 } from "../machine/with-s3.js";
import { readConfig } from "../shell/read-config.js";

/** `roslin gc`: the stages' directories, and what came from buckets, that no run needs. */
export const gc: Command = {
  name: "gc",
  summary: "remove what no run needs, after a list of it and a question",
  usage:
    "gc [--yes] [--dir DIR --config FILE …]\nDIR: stages that were run without Temporal; what a run of a FILE would reuse or go on in is kept",
  async run(args, environment) {
    const { values } = parseArgs({
      args: [...args],
      options: { yes: { type: "boolean" }, dir: { type: "string" }, config: { type: "string", multiple: true } },
    });
    const files = (await Promise.all((values.config ?? []).map((file) => readConfig(file)))).map((config): KeptRun => ({
      config: withTarget(config, () => defaultTarget(environment)),
      begun: null,
    }));
    if (values.dir !== undefined) {
      if (values.dir === "" || files.length === 0)
        throw new UserError("gc --dir needs the directory, and --config for every run whose work is to be kept");
      // Temporal does not know whether such runs still go on
      const runs = files.map((run): KeptRun => ({ ...run, begun: [] }));
      return await collect(resolve(values.dir), null, async () => runs, values.yes, environment);
    }
    return await withClient(await temporalVariables(environment), async (client) => {
      const known = duration(await retentionOf(client));
      console.log(`Temporal remembers runs for ${known} after they end; what only older ones need is not kept`);
      const runs = async (): Promise<KeptRun[]> => [...files, ...(await runsThatMayGoOn(client, environment))];
      return await collect(join(environment.home, "stages"), join(environment.home, "objects"), runs, values.yes, environment);
    });
  },
};

/** `cache`: where objects from buckets are kept; null: the directory has no such cache. */
async function collect(
  root: string,
  cache: string | null,
  keptRuns: () => Promise<KeptRun[]>,
  yes: boolean | undefined,
  environment: Environment,
): Promise<number> {
  await finishRemovals(root);
  const runs = await keptRuns();
  const garbage = await findGarbage(root, runs);
  const spare = cache === null ? [] : await findSpareObjects(cache, root, garbage, runs);
  const all: Removal[] = [
    ...garbage.map((each): Removal => {
      const remove = (signal: AbortSignal) => removeGarbage(root, each, keptRuns, (journal) => discard(journal, environment, signal));
      return { path: each.directory, bytes: each.bytes, remove };
    }),
    ...spare.map((each): Removal => ({
      path: each.blob,
      bytes: each.bytes,
      remove: () => removeSpareObject(root, each, keptRuns),
    })),
  ];
  const kept = `what ${runs.length === 1 ? "1 run needs" : `${runs.length} runs need`} is kept`;
  for (const { path, bytes: size } of all) console.log(`${bytes(size).padStart(9)}  ${path}`);
  if (all.length === 0) console.log(`nothing to remove; ${kept}`);
  else
    await remove(
      all,
      `${counted(garbage.length, "directory", "directories")}${spare.length === 0 ? "" : ` and ${counted(spare.length, "download", "downloads")}`}`,
      kept,
      yes,
    );
  if (cache !== null) await tellOfDownloads(cache, environment.hub.cacheDirectory);
  return 0;
}

/** Something to be removed; `remove` resolves to the reason if it stays, or to null. */
interface Removal {
  readonly path: string;
  readonly bytes: number;
  remove(signal: AbortSignal): Promise<string | null>;
}

function counted(count: number, one: string, several: string): string {
  return `${count} ${count === 1 ? one : several}`;
}

async function remove(all: readonly Removal[], what: string, kept: string, yes: boolean | undefined): Promise<void> {
  const sum = bytes(all.reduce((total, each) => total + each.bytes, 0));
  if (yes !== true && !(await agreed(`Remove ${what}, ${sum}? (${kept}) [y/N] `))) {
    console.error("roslin: nothing was removed; answer y, or call with --yes");
    return;
  }
  let freed = 0;
  await untilInterrupted(async (signal) => {
    for (const each of all) {
      const stays = await each.remove(signal).catch(messageOf);
      signal.throwIfAborted();
      if (stays === null) freed += each.bytes;
      else console.log(`stays: ${each.path}: ${stays}`);
    }
  });
  console.log(`removed ${bytes(freed)}; ${kept}`);
}

/** Says what the downloads take that are there. */
async function tellOfDownloads(cache: string, hubCache: string): Promise<void> {
  const tell = async (directory: string, what: string): Promise<void> => {
    const size = await sizeBelow(directory);
    if (size > 0) console.log(`${bytes(size)} of downloads in ${directory}: ${what}`);
  };
  await tell(cache, "from buckets");
  await tell(hubCache, "from the hub, shared with Python's clients; hf cache rm removes them");
}

/** Asks in a terminal; without one the answer is no. */
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

/** The journal itself names the bucket of its upload. */
async function discard(journal: string, environment: Environment, signal: AbortSignal): Promise<void> {
  const bucket = `s3://${environment.bucket}`;
  await withS3(environment, bucket, signal, ({ variables }) => openStore(bucket, s3SettingsOf(variables)).discard(journal));
}
