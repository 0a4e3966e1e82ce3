import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, readFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WorkflowFailedError } from "@temporalio/client";
import { listFiles } from "../../infra/disk/files.js";
import { openStore } from "../../infra/store/open-store.js";
import { readAll } from "../../infra/store/store.js";
import { CHECKOUT } from "../../workers/environment.js";
import { LEASE_ID } from "../../workflows/contract.js";
import { startTestHub, type TestHub } from "../infra/sources/hub/harness.js";
import { startProxy, type Refusal, type S3Call } from "../infra/store/proxy.js";
import { withoutToken } from "../infra/store/resign.js";
import { startTestS3 } from "../infra/store/weed.js";
import { startMachine, watch, type Machine } from "./machine.js";

/** Keys and tokens reach S3 and the hub, and nothing that is written: no history, no log, no file, no object, no command line. */

let server: Awaited<ReturnType<typeof startTestS3>>;
let proxy: Awaited<ReturnType<typeof startProxy>>;
let hub: TestHub;
let machine: Machine;
let secrets: Readonly<Record<string, string>>;
/** answers in the S3 server's place */
let refuse: (call: S3Call) => Refusal | null = () => null;
/** command lines of all processes, as they were seen while runs ran */
const commandLines = new Set<string>();

before(async () => {
  server = await startTestS3();
  const { accessKeyId, secretAccessKey } = server.settings.credentials!;
  secrets = {
    key: accessKeyId,
    secret: secretAccessKey,
    session: randomBytes(40).toString("base64"),
    hub: `hf_${randomBytes(17).toString("hex")}`,
  };
  proxy = await startProxy(
    server.settings.endpoint,
    (call) => refuse(call),
    () => null,
    (method, path, headers) => withoutToken(method, path, headers, secretAccessKey),
  );
  hub = await startTestHub({});
  const variables = {
    AWS_ENDPOINT_URL_S3: proxy.endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: secrets["session"]!,
    HF_ENDPOINT: hub.url,
    HF_TOKEN: secrets["hub"]!,
  };
  machine = await startMachine(2, (home) => ({ ...variables, HF_HOME: join(home, "hub-cache") }));
  cpSync(join(CHECKOUT, "test", "reference", "gptj-tiny"), join(hub.root, "models", "org", "m"), { recursive: true });
  mkdirSync(join(hub.root, "datasets", "org", "d"), { recursive: true });
  cpSync(join(machine.home, "rows.json"), join(hub.root, "datasets", "org", "d", "rows.json"));
});
after(async () => {
  await machine?.stop();
  await hub?.close();
  await proxy?.stop();
  await server?.stop();
});

/** Runs the pipeline from the hub to the bucket; resolves to the failure's message, if it fails. */
async function run(id: string, more: object = {}): Promise<string | null> {
  const config = {
    ...machine.config,
    model: { source: "hf://org/m" },
    dataset: { source: "hf://org/d" },
    train: { ...machine.config.train, maxSteps: 20 },
    publish: { target: "s3://roslin/models", lifecycle: { abortUploadsAfterDays: 7 }, tags: { team: id } },
    ...more,
  };
  const seen = new Set<string>();
  const see = (activity: string): void => {
    if (seen.size === seen.add(activity).size) return;
    for (const line of execFileSync("ps", ["-A", "-o", "args="], { encoding: "utf8" }).split("\n")) commandLines.add(line);
  };
  try {
    await watch(machine, await machine.goOn(id, config), see);
    return null;
  } catch (error) {
    assert.ok(error instanceof WorkflowFailedError, String(error));
    return String(error.cause);
  }
}

/** Where in some bytes a secret is: as it is, in a URL, or in base64 at any offset. */
function found(bytes: Buffer): string[] {
  return Object.entries(secrets).flatMap(([name, secret]) => {
    const encoded = [0, 1, 2].map((offset) =>
      Buffer.from("\0".repeat(offset) + secret)
        .toString("base64")
        .slice(4, -4),
    );
    return [secret, encodeURIComponent(secret), ...encoded].some((form) => bytes.includes(form)) ? [name] : [];
  });
}

test(
  "no secret is in history, database, logs, stages, bucket or command lines, of runs that failed by their credentials either",
  { timeout: 240_000 },
  async () => {
    assert.equal(await run("good"), null);
    assert.ok(proxy.calls.some(({ headers }) => headers["x-amz-security-token"] === secrets["session"]));
    assert.ok(hub.requests.some(({ authorization }) => authorization === `Bearer ${secrets["hub"]}`));

    // what Amazon sends along
    const refusals: Readonly<Record<string, Refusal>> = {
      expired: { status: 400, code: "ExpiredToken", more: `<Token-0>${secrets["session"]}</Token-0>` },
      invalid: { status: 400, code: "InvalidToken", more: `<Token-0>${secrets["session"]}</Token-0>` },
      signature: { status: 403, code: "SignatureDoesNotMatch", more: `<AWSAccessKeyId>${secrets["key"]}</AWSAccessKeyId>` },
      denied: { status: 403, code: "AccessDenied", more: `<AWSAccessKeyId>${secrets["key"]}</AWSAccessKeyId>` },
      strange: {
        status: 400,
        code: "StrangeError",
        more: `<Token-0>${secrets["session"]}</Token-0><AWSAccessKeyId>${secrets["key"]}</AWSAccessKeyId>`,
      },
    };
    const messages: Record<string, string | null> = {};
    for (const [id, refusal] of Object.entries(refusals)) {
      let refused = 0;
      refuse = ({ method, key }) => (method === "PUT" && !key.endsWith(".roslin-may-write") && refused++ < 3 ? refusal : null);
      messages[id] = await run(id);
    }
    refuse = () => null;
    assert.match(messages["expired"]!, /credentials have expired/);
    assert.match(messages["denied"]!, /give them the right s3:PutObject/);
    assert.match(messages["signature"]!, /S3 refuses the credentials/);
    hub.misbehave = (request, response) => {
      response.writeHead(401, { "x-error-code": "GatedRepo", "x-error-message": "said by the test" }).end();
      return request.url !== "";
    };
    messages["gated"] = await run("gated", { model: { source: "hf://org/gated" } });
    assert.notEqual(messages["gated"], null);

    const leaks: string[] = [];
    const look = (where: string, bytes: Buffer): void => void leaks.push(...found(bytes).map((name) => `${name} in ${where}`));
    for (const id of ["good", ...Object.keys(messages), LEASE_ID])
      look(`the history of ${id}`, Buffer.from(await machine.temporal("workflow", "show", "--workflow-id", id, "-o", "json")));
    const names = await listFiles(machine.home);
    for (const wanted of [
      /^temporal.*\.(db|sqlite)/,
      /^logs\/pipeline\.log$/,
      /^logs\/gpu-0\.log$/,
      /commits\/0+1\.json$/,
      /^stages\/publish\/.*manifest\.json$/,
    ])
      assert.ok(
        names.some((name) => wanted.test(name)),
        `${wanted} of ${names.slice(0, 20).join(" ")}`,
      );
    for (const name of names) look(name, readFileSync(join(machine.home, name)));
    const store = openStore("s3://roslin", server.settings);
    const objects = await store.list("");
    assert.ok(objects.length >= 8);
    for (const { key } of objects) look(`object ${key}`, Buffer.from((await readAll(store, key))!));
    assert.ok([...commandLines].some((line) => line.includes("pipeline.js")));
    look("a command line", Buffer.from([...commandLines].join("\n")));
    assert.deepEqual(leaks, []);
  },
);
