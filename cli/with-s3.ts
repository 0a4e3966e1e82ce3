import { startS3 } from "../infra/servers/start.js";
import type { Environment } from "../workers/environment.js";
import { runningState, serverVariables } from "./state.js";

/** Runs `work` with an S3 server at hand if the target is on the local one: that of a running `up`, or one for its time. */
export async function withS3<T>(
  environment: Environment,
  target: string | null,
  work: (environment: Environment) => Promise<T>,
): Promise<T> {
  if (environment.s3 === "external" || target?.startsWith("file:") === true) return work(environment);
  const { home, tools, bucket, variables } = environment;
  const running = (await runningState(home))?.s3 ?? null;
  const reach = (s3: NonNullable<typeof running>): Environment => ({
    ...environment,
    variables: serverVariables(environment, { temporal: null, s3 }),
  });
  if (running !== null) return work(reach(running));
  const server = await startS3({ home, tools, bucket, variables, say: (line) => console.error(`roslin: ${line}`) });
  try {
    return await work(reach(server));
  } finally {
    await server.stop();
  }
}
