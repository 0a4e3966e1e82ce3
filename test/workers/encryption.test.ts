import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { ApplicationFailure } from "@temporalio/common";
import { WorkflowFailedError } from "@temporalio/client";
import { UserError } from "../../core/errors.js";
import { TEMPORAL, getTool } from "../../infra/servers/tools.js";
import { lookAt } from "../../cli/show/follow.js";
import { withClient } from "../../workers/client.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { OUTGOING } from "../../workers/outgoing.js";
import { dataConverterOf, EncryptionCodec } from "../../workers/payload-codec.js";
import { addPayloadKey, payloadKeys } from "../../workers/payload-keys.js";
import { plainPending } from "../../workers/raw-payloads.js";
import { runsThatMayGoOn } from "../../workers/runs.js";
import { quickConfig, resultOf, startPlace, type Place } from "../workflows/place.js";
/** Payloads encrypted by one setting, against a real server and the stock CLI. */

const directory = mkdtempSync(join(tmpdir(), "roslin-encryption-"));
const keyFile = join(directory, "keys");
const variables: Record<string, string> = { ROSLIN_PAYLOAD_KEY: keyFile };
/** words that stand in inputs, results, failures, heartbeats and details */
const MARK = "words-of-a-row";
let place: Place;
let temporal: (...args: readonly string[]) => Promise<string>;
let endpoint: string;
const children: ChildProcess[] = [];

/** Starts `roslin codec`; resolves to its address. */
async function startCodec(more: Readonly<Record<string, string>> = {}, ...args: readonly string[]): Promise<string> {
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const child = spawn(process.execPath, [join(CHECKOUT, "bin", "roslin.js"), "codec", "--port", `${port}`, ...args], {
    env: { ...process.env, ...variables, ROSLIN_HOME: directory, ...more },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  assert.match(line.toString(), /the codec server listens/);
  return `http://127.0.0.1:${port}`;
}

before(async () => {
  addPayloadKey(keyFile, new Date("2026-01-02T03:04:05Z"));
  place = await startPlace({ ...dataConverterOf(variables), interceptors: OUTGOING });
  const environment = readEnvironment(process.env, CHECKOUT);
  const binary = await getTool(TEMPORAL, { directory: environment.tools, variables: process.env }, () => {}, new AbortController().signal);
  temporal = async (...args) => {
    const call = promisify(execFile)(binary, [...args, "--address", place.address], { maxBuffer: 64 << 20 });
    const { stdout } = await call.catch((error: Error & { readonly stdout: string; readonly stderr: string }) => {
      throw new Error(`${args.join(" ")}: ${error.stdout} ${error.stderr}`);
    });
    return stdout;
  };
  endpoint = await startCodec({}, "--ui", "http://ui.test:8233");
});
after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await place?.clear();
  await place?.stop();
  rmSync(directory, { recursive: true });
});

/** Whether bytes hold the mark, as they are or in base64 at any offset. */
function shows(bytes: Buffer | string): boolean {
  const encoded = [0, 1, 2].map((offset) =>
    Buffer.from("\0".repeat(offset) + MARK)
      .toString("base64")
      .slice(4, -4),
  );
  return [MARK, ...encoded].some((form) => bytes.includes(form));
}

test(
  "history, failures and the server's database hold no plain text; the stock CLI with the codec shows it",
  { timeout: 180_000 },
  async () => {
    let failures = 0;
    await place.pipeline({
      download: async () => resultOf("download", ["model", "dataset"], { told: MARK }),
      preprocess: async () => {
        if (failures++ === 0) throw new Error(`first ${MARK}`);
        throw ApplicationFailure.nonRetryable(`final ${MARK} ${"x".repeat(3 << 20)}`, "UserError", { row: MARK });
      },
    });
    const config = {
      ...(quickConfig() as object),
      model: { source: "file:///models/in-the-open" },
      publish: { target: `file:///${MARK}` },
    };
    const run = await place.start("secret", config);
    const error = await run.result().catch((failed: unknown) => failed);
    assert.ok(error instanceof WorkflowFailedError);
    assert.match(String(error.cause), new RegExp(`final ${MARK} x+ … \\d+ characters left out`));

    const plain = await temporal("workflow", "show", "--workflow-id", "secret", "-o", "json");
    assert.match(plain, /Encoded failure/);
    assert.ok(!shows(plain));
    assert.ok(!shows(await temporal("workflow", "describe", "--workflow-id", "secret", "-o", "json")));
    // no codec touches search attributes
    assert.ok(plain.includes(Buffer.from('"file:///models/in-the-open"').toString("base64")));
    const metadata = ["workflow", "query", "--type", "__temporal_workflow_metadata", "--workflow-id", "secret", "-o", "json"];
    assert.doesNotMatch(await temporal(...metadata), /download/);
    assert.match(await temporal(...metadata, "--codec-endpoint", endpoint), /download/);
    const data = join(place.directory, "temporal");
    for (const name of readdirSync(data)) assert.ok(!shows(readFileSync(join(data, name))), name);

    const read = await temporal("workflow", "show", "--workflow-id", "secret", "-o", "json", "--codec-endpoint", endpoint);
    assert.ok(shows(read));
    assert.ok(!read.includes(Buffer.from("binary/encrypted").toString("base64")));

    await withClient({ ...variables, TEMPORAL_ADDRESS: place.address }, async (client) => {
      const [kept] = await runsThatMayGoOn(client, readEnvironment({ ...variables, ROSLIN_HOME: directory }, CHECKOUT));
      assert.equal(kept!.config.publish.target, `file:///${MARK}`);
    });
  },
);

test(
  "the stock CLI with the codec starts a run that is encrypted; one started without keys is read as well",
  { timeout: 180_000 },
  async () => {
    const input = JSON.stringify({ ...(quickConfig() as object), model: { source: `file:///models/${MARK}` }, nonsense: MARK });
    const start = ["workflow", "start", "--type", "finetune", "--task-queue", "roslin", "--input", input];
    await temporal(...start, "--workflow-id", "by-cli", "--codec-endpoint", endpoint);
    await temporal(...start, "--workflow-id", "by-cli-plain");
    for (const id of ["by-cli", "by-cli-plain"])
      await assert.rejects(place.client.workflow.getHandle(id).result(), (failed: WorkflowFailedError) =>
        /nonsense/.test(String(failed.cause)),
      );
    assert.ok(!shows(await temporal("workflow", "show", "--workflow-id", "by-cli", "-o", "json")));
  },
);

test("heartbeats and last failures of a pending activity are read by clients that have the keys", { timeout: 60_000 }, async () => {
  const codec = new EncryptionCodec(payloadKeys(variables)!);
  const encode = async (value: unknown) =>
    (await codec.encode([{ metadata: { encoding: Buffer.from("json/plain") }, data: Buffer.from(JSON.stringify(value)) }]))[0]!;
  const pending = {
    activityId: "train-0",
    attempt: 2,
    heartbeatDetails: { payloads: [await encode({ stage: "train", done: 3, total: 4, unit: "steps" })] },
    lastFailure: { message: "Encoded failure", encodedAttributes: await encode({ message: MARK, stack_trace: "" }) },
  };
  const seen = lookAt(await plainPending(place.client, [pending]));
  assert.equal(seen.progress?.done, 3);
  assert.deepEqual(seen.failures, [`train-0: attempt 2 begins, because ${MARK}`]);
});

test("a new key encrypts, the old one still decrypts, and a missing key is named", async () => {
  const payload = { metadata: { encoding: Buffer.from("json/plain") }, data: Buffer.from(`"${MARK}"`) };
  const before = payloadKeys(variables)!;
  const [old] = await new EncryptionCodec(before).encode([payload]);
  const id = addPayloadKey(keyFile, new Date());
  assert.equal(statSync(keyFile).mode & 0o777, 0o600);
  const both = new EncryptionCodec(payloadKeys(variables)!);
  const [now] = await both.encode([payload]);
  assert.equal(Buffer.from(now!.metadata!["encryption-key-id"]!).toString(), id);
  assert.notEqual(id, Buffer.from(old!.metadata!["encryption-key-id"]!).toString());
  for (const decoded of await both.decode([old!, now!, payload])) assert.equal(Buffer.from(decoded.data!).toString(), `"${MARK}"`);
  await assert.rejects(new EncryptionCodec(before).decode([now!]), new RegExp(`does not have.*id=${id}, have=k20260102030405`));
  const damaged = { ...now!, data: Buffer.from(now!.data!).fill(1, 20, 21) };
  await assert.rejects(both.decode([damaged]), /damaged/);
  await assert.rejects(both.decode([{ ...now!, data: Buffer.alloc(3) }]), /damaged/);
});

test("a wrong setting is named without the key", () => {
  const key = Buffer.alloc(32, 7).toString("base64");
  const bad = (setting: string, expected: RegExp): void => {
    assert.throws(
      () => payloadKeys({ ROSLIN_PAYLOAD_KEY: setting }, () => {}),
      (error: Error) => error instanceof UserError && expected.test(error.message) && !error.message.includes(key.slice(0, 20)),
    );
  };
  assert.equal(payloadKeys({ ROSLIN_PAYLOAD_KEY: " " }), null);
  assert.equal(payloadKeys({ ROSLIN_PAYLOAD_KEY: `new:${key},old:${key}` })!.length, 2);
  bad(key, /id:key/);
  bad(`a:${key.slice(0, 30)}`, /32 bytes/);
  bad(`a:${key},a:${key}`, /same id.*id=a/);
  bad("/nowhere/keys", /does not exist/);
  writeFileSync(join(directory, "empty"), "\n");
  bad(join(directory, "empty"), /no key/);
});

test("the codec answers pages of the UI and programs of this machine, and no other page, host or path", async () => {
  const ask = async (path: string, init: RequestInit = {}, at = endpoint) =>
    fetch(`${at}${path}`, { method: "POST", body: '{"payloads":[]}', ...init });
  assert.deepEqual(await (await ask("/decode")).json(), { payloads: [] });
  const preflight = await ask("/decode", { method: "OPTIONS", body: null, headers: { origin: "http://ui.test:8233" } });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "http://ui.test:8233");
  assert.match(preflight.headers.get("access-control-allow-headers")!, /content-type,x-namespace/);
  for (const origin of ["http://evil.test", "null", "http://ui.test"]) {
    const refused = await ask("/decode", { headers: { origin } });
    assert.equal(refused.status, 403);
    assert.equal(refused.headers.get("access-control-allow-origin"), null);
  }
  assert.equal((await ask("/other")).status, 404);
  assert.equal((await ask("/decode", { method: "GET", body: null })).status, 405);
  assert.equal((await ask("/decode", { body: "{" })).status, 400);
  for (const body of ["null", '{"payloads":7}', '{"payloads":[7]}', '{"payloads":[{"metadata":{"encoding":5}}]}'])
    assert.ok([200, 400].includes((await ask("/decode", { body })).status), body);
  // as the stock CLI asks
  assert.deepEqual(await (await ask("/decode", { body: "{}" })).json(), { payloads: [] });
  const { stdout } = await promisify(execFile)("curl", [
    "-s",
    "-o",
    "/dev/null",
    "-w",
    "%{http_code}",
    "-H",
    "Host: evil.test",
    "-d",
    "{}",
    `${endpoint}/decode`,
  ]);
  assert.equal(stdout, "403");

  const closed = await startCodec({ ROSLIN_CODEC_TOKEN: "a-token-of-the-test" });
  assert.equal((await ask("/decode", {}, closed)).status, 401);
  assert.equal((await ask("/decode", { headers: { authorization: "Bearer a-token-of-the-test" } }, closed)).status, 200);
  const auth = ["--codec-endpoint", closed, "--codec-auth", "Bearer a-token-of-the-test"];
  assert.ok(shows(await temporal("workflow", "show", "--workflow-id", "secret", "-o", "json", ...auth)));
});
