import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { startS3 } from "../../../infra/servers/start.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";

/** A real S3 server of a test's own, with one bucket, "roslin"; `stop` removes its data as well. */
export async function startTestS3(): Promise<{ readonly settings: S3Settings & { readonly endpoint: string }; stop(): Promise<void> }> {
  const { home, server } = await startOnce().catch((error: Error) => {
    // on a machine full of tests a server now and then does not come up
    if (!/did not get ready/.test(error.message)) throw error;
    return startOnce();
  });
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  return {
    settings: { endpoint, region, credentials: { accessKeyId, secretAccessKey } },
    async stop() {
      await server.stop();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function startOnce() {
  const home = mkdtempSync(join(tmpdir(), "roslin-s3-"));
  const tools = join(readEnvironment(process.env, CHECKOUT).home, "tools");
  try {
    return { home, server: await startS3({ home, tools, bucket: "roslin", variables: process.env, signal: new AbortController().signal }) };
  } catch (error) {
    rmSync(home, { recursive: true, force: true });
    throw error;
  }
}
