import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import { discardUploads } from "../activities/cleanup/garbage.js";
import { messageOf } from "../core/errors.js";
import { openStore } from "../infra/store/open-store.js";
import { s3SettingsOf } from "../infra/store/s3-store.js";
import type { Environment } from "./environment.js";
import { runsThatUpload } from "./runs.js";

/** Milliseconds between looks; a look that finds no journal asks neither Temporal nor S3. */
const LOOK_MS = 5000;

/**
 * Removes unfinished uploads of runs that have ended from buckets: a terminated run cannot clean up, and neither can a run that
 * lost S3 or its worker. Looks again and again until the signal.
 */
export async function clearUploads(environment: Environment, client: Client, root: string, signal: AbortSignal): Promise<void> {
  // the journal says in which bucket its upload is
  const bucket = openStore(`s3://${environment.bucket}`, s3SettingsOf(environment.variables));
  let said = "";
  while (!signal.aborted) {
    try {
      const runs = () => runsThatUpload(client, environment);
      await discardUploads(root, runs, (journal) => bucket.discard(journal));
      said = "";
    } catch (error) {
      const why = messageOf(error);
      if (why !== said) console.error(`unfinished uploads of runs that have ended cannot be removed yet: ${why}`);
      said = why;
    }
    await sleep(LOOK_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
