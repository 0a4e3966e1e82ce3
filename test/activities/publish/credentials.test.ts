import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { publish } from "../../../activities/publish/publish.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { finishedRun, publishDependencies } from "./run.js";

test("an instance's metadata service is asked for credentials once, and may be slow or gone after that", async () => {
  const root = mkdtempSync(join(tmpdir(), "roslin-credentials-"));
  const server = await startTestS3();
  const { credentials, ...settings } = server.settings;
  let given = 0;
  const metadata = createServer(({ url }, response) => {
    if (url === "/latest/api/token") return void response.end("token");
    if (url!.endsWith("/security-credentials/")) return void response.end("role");
    if (given++ > 0) return void response.destroy();
    const { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey } = credentials!;
    response.end(JSON.stringify({ AccessKeyId, SecretAccessKey, Token: "", Expiration: new Date(Date.now() + 3_600_000).toISOString() }));
  });
  await new Promise<void>((resolve) => void metadata.listen(0, "127.0.0.1", resolve));
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
  Object.assign(process.env, {
    AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${(metadata.address() as AddressInfo).port}`,
    AWS_CONFIG_FILE: join(root, "none"),
    AWS_SHARED_CREDENTIALS_FILE: join(root, "none"),
  });
  try {
    const request = await finishedRun(join(root, "run"), "s3://roslin/instance");
    const config = { ...request.config, publish: { ...request.config.publish, storageClass: "STANDARD_IA" as const } };
    const context = { signal: new AbortController().signal, progress: () => undefined };
    const result = await publish(publishDependencies(settings), { ...request, config }, context);
    assert.equal(result.metrics["latest"], true);
    assert.equal(given, 1);
  } finally {
    metadata.closeAllConnections();
    metadata.close();
    await server.stop();
    rmSync(root, { recursive: true });
  }
});
