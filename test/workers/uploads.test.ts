import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { cpSync, writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { ListMultipartUploadsCommand, type S3Client } from "@aws-sdk/client-s3";
import { WorkflowFailedError } from "@temporalio/client";
import { CHECKOUT } from "../../workers/environment.js";
import { s3Client } from "../../infra/store/s3-store.js";
import { startProxy, type Refusal, type S3Call } from "../infra/store/proxy.js";
import { startTestS3 } from "../infra/store/weed.js";
import { SIGNALS } from "../../workflows/contract.js";
import { progressOf, startMachine, until, type Machine, type Run } from "./machine.js";

/** What a run has half uploaded goes when the run is over, however it ended; while it may go on, it stays. */

let server: Awaited<ReturnType<typeof startTestS3>>;
let proxy: Awaited<ReturnType<typeof startProxy>>;
let client: S3Client;
let machine: Machine;
/** answers in the server's place, as a test likes */
let trouble: (call: S3Call) => Refusal | null | Promise<Refusal | null> = () => null;

before(async () => {
  server = await startTestS3();
  client = s3Client(server.settings);
  proxy = await startProxy(server.settings.endpoint, (call) => trouble(call));
  const { accessKeyId, secretAccessKey } = server.settings.credentials!;
  machine = await startMachine(1, () => ({
    AWS_ENDPOINT_URL_S3: proxy.endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  }));
});
after(async () => {
  await machine?.stop();
  await proxy?.stop();
  client?.destroy();
  await server?.stop();
});

/** The settings of a run whose model has a file that goes up in three parts. */
function configOf(id: string): object {
  const model = join(machine.home, `model-${id}`);
  cpSync(join(CHECKOUT, "test", "reference", "gptj-tiny"), model, { recursive: true });
  writeFileSync(join(model, "merges.txt"), randomBytes(20 << 20));
  const train = { ...machine.config.train, epochs: 1, maxSteps: 3 };
  const publish = { target: `s3://roslin/${id}` };
  return { ...machine.config, model: { source: pathToFileURL(model).href }, train, publish };
}
const start = (id: string): Promise<Run> => machine.start(id, configOf(id));

/** The journals of unfinished uploads. */
async function journals(): Promise<string[]> {
  const root = join(machine.home, "stages", "publish");
  const names = (await readdir(root, { recursive: true }).catch(() => [])).filter((name) => /uploads\/\w+$/.test(name));
  return (await Promise.all(names.map((name) => readFile(join(root, name), "utf8").catch(() => "")))).filter((text) => text !== "");
}

const uploads = async (): Promise<number> =>
  (await client.send(new ListMultipartUploadsCommand({ Bucket: "roslin" }))).Uploads?.length ?? 0;
const never = new Promise<null>(() => undefined);
const isPart = ({ part }: S3Call, ...numbers: readonly string[]): boolean => numbers.includes(part ?? "");
/** Lets the first part arrive, and nothing answer to the others. */
const stuck = (call: S3Call): null | Promise<null> => (isPart(call, "2", "3") ? never : null);
const firstPartSent = () => until(async () => (await journals()).some((text) => text.includes('{"part":1')));

test("of a terminated run nothing stays in the bucket", { timeout: 240_000 }, async () => {
  trouble = stuck;
  await start("terminated");
  await firstPartSent();
  assert.equal(await uploads(), 1);
  await machine.temporal("workflow", "terminate", "--workflow-id", "terminated");
  await until(async () => (await uploads()) === 0);
  await until(async () => (await journals()).length === 0);
});

test("a killed worker's upload is gone on with; when the run is terminated meanwhile it is removed", { timeout: 240_000 }, async () => {
  trouble = stuck;
  const run = await start("killed");
  await firstPartSent();
  machine.kill("pipeline");
  proxy.calls.length = 0;
  trouble = () => null;
  await run.result();
  assert.ok(!proxy.calls.some((call) => isPart(call, "1")), "the part that had arrived is not sent again");
  assert.equal(await uploads(), 0);

  trouble = stuck;
  await start("both");
  await firstPartSent();
  await machine.temporal("workflow", "terminate", "--workflow-id", "both");
  machine.kill("pipeline");
  await until(async () => (await uploads()) === 0);
});

test("a paused run keeps what it has uploaded, and goes on with it; of a cancelled run nothing stays", { timeout: 240_000 }, async () => {
  trouble = stuck;
  const run = await start("paused");
  await firstPartSent();
  const before = await journals();
  await run.signal(SIGNALS.pause);
  await until(async () => (await progressOf(run)).pause.startsWith("paused"));
  assert.deepEqual([await journals(), await uploads()], [before, 1]);
  proxy.calls.length = 0;
  trouble = () => null;
  await run.signal(SIGNALS.resume);
  await run.result();
  assert.ok(!proxy.calls.some((call) => isPart(call, "1")), "the part that had arrived is not sent again");

  trouble = stuck;
  const other = await start("cancelled");
  await firstPartSent();
  await other.cancel();
  await assert.rejects(other.result(), WorkflowFailedError);
  await until(async () => (await uploads()) === 0);
  await until(async () => (await journals()).length === 0);
});

test("a failed run whose credentials had expired is gone on with, what is terminated then is removed", { timeout: 240_000 }, async () => {
  let expired = false;
  trouble = async (call) => {
    if (isPart(call, "2", "3") && !expired) {
      await firstPartSent();
      expired = true;
    }
    return expired ? { status: 400, code: "ExpiredToken" } : null;
  };
  const config = configOf("expired");
  const run = await machine.start("expired", config);
  await assert.rejects(run.result(), (error) => error instanceof WorkflowFailedError && /have expired/.test(String(error.cause)));
  assert.equal(await uploads(), 1);
  proxy.calls.length = 0;
  trouble = stuck;
  await machine.goOn("renewed", config);
  await until(() => proxy.calls.some((call) => isPart(call, "2")));
  assert.ok(!proxy.calls.some((call) => isPart(call, "1")), "the part that had arrived is not sent again");
  await machine.temporal("workflow", "terminate", "--workflow-id", "renewed");
  await until(() =>
    machine.client.workflow.count("WorkflowId = 'renewed' AND ExecutionStatus = 'Terminated'").then(({ count }) => count === 1),
  );
  assert.equal(await uploads(), 1, "the failed one may still be tried again");
});
