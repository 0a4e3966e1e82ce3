import { setTimeout as sleep } from "node:timers/promises";
import { startS3 } from "../../infra/servers/start.js";
import type { S3Access } from "../../infra/servers/s3-server.js";
import type { Environment } from "../../workers/environment.js";
import { HomeTakenError, lockS3 } from "./home-locks.js";
import { serverVariables } from "./server-variables.js";
import { runningState } from "./up-state.js";

/** Milliseconds between looks at whether the S3 server that another command is starting can be used. */
const LOOK_MS = 300;

/** Whether a place is in a bucket; null: the target of a run that names none, which is. */
export function isInBucket(place: string | null): boolean {
  return !/^(file|hf):/.test(place ?? "");
}

/** Runs `work` with a local S3 server if the target is on it: the server of a running `up`, or one that is started for `work`. */
export async function withS3<T>(
  environment: Environment,
  target: string | null,
  signal: AbortSignal,
  work: (environment: Environment) => Promise<T>,
): Promise<T> {
  if (environment.s3 === "external" || !isInBucket(target)) return work(environment);
  const { home, tools, bucket, variables } = environment;
  const reach = (s3: S3Access): Environment => ({
    ...environment,
    variables: serverVariables(environment, { temporal: null, s3 }),
  });
  const say = (line: string): void => console.error(`roslin: ${line}`);
  for (let told = false; ; told = true) {
    const running = (await runningState(home))?.s3 ?? null;
    if (running !== null) return work(reach(running));
    const unlock = await lockS3(home).catch((error: unknown) => {
      if (!(error instanceof HomeTakenError)) throw error;
      if (!told) say(error.message);
      return null;
    });
    if (unlock === null) {
      await sleep(LOOK_MS, undefined, { signal });
      continue;
    }
    try {
      const server = await startS3({ home, tools, bucket, variables, signal, say });
      try {
        return await work(reach(server));
      } finally {
        await server.stop();
      }
    } finally {
      await unlock();
    }
  }
}
