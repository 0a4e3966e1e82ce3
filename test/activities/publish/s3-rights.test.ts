import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { CHECKOUT } from "../../../workers/environment.js";
import { ForbiddenError, UserError } from "../../../core/errors.js";
import { startProxy, type Refusal, type S3Call } from "../../infra/store/proxy.js";
import { context, S3Runs } from "./s3-runs.js";

const runs = new S3Runs();

const denied: Refusal = { status: 403, code: "AccessDenied" };

type Statement = readonly { readonly Action: string | readonly string[]; readonly Resource: string }[];

/** The policy in the docs. */
function documented(): Statement {
  const doc = readFileSync(join(CHECKOUT, "docs", "s3.md"), "utf8");
  return (JSON.parse(/```json\n(.*?)```/s.exec(doc)![1]!) as { Statement: Statement }).Statement;
}

/** Whether a policy for everything below `prefix` allows a call. */
function allows(policy: Statement, prefix: string, { right, key }: S3Call): boolean {
  return policy.some(({ Action, Resource }) => {
    const path = Resource.replace("arn:aws:s3:::BUCKET", "").replace("/PREFIX/", `${prefix}/`);
    return [Action].flat().includes(right) && (path.endsWith("*") ? key.startsWith(path.slice(0, -1)) : key === path);
  });
}

/**
 * Publishes with the rights of a policy alone: after a stop whose journal is lost, after another stop, and once in vain, for
 * a file changes. What is wrong then, nothing if all is well, and the calls that were made.
 */
async function publishWith(policy: Statement, prefix: string): Promise<{ wrong: string[]; calls: readonly S3Call[] }> {
  // who may not list is told of a missing object that it is forbidden
  const hide = (call: S3Call, status: number): Refusal | null => (call.right === "s3:GetObject" && status === 404 ? denied : null);
  const proxy = await startProxy(runs.settings.endpoint, (call) => (allows(policy, prefix, call) ? null : denied), hide);
  const settings = { ...runs.settings, endpoint: proxy.endpoint };
  const wrong: string[] = [];
  const note = (error: Error): void => void wrong.push(error.message);
  try {
    const request = await runs.bigRun(`s3://roslin/${prefix}`);
    await runs.goAndStop(request, settings).catch(note);
    for (const key of wrong.length > 0 ? [] : readdirSync(join(request.root, "publish")))
      rmSync(join(request.root, "publish", key, "uploads"), { recursive: true });
    await runs.goAndStop(request, settings).catch(note);
    await runs.go(request, settings).catch(note);
    const other = await runs.bigRun(`s3://roslin/${prefix}`);
    const changed = {
      ...context(),
      progress: ({ note }: { note?: string }) => {
        if (note === "vocab.json") writeFileSync(join(fileURLToPath(other.inputs[3]!.uri), "vocab.json"), Buffer.alloc(17 << 20));
      },
    };
    await assert.rejects(runs.go(other, settings, changed), /changed before all of it was uploaded/).catch(note);
  } finally {
    await proxy.stop();
  }
  const { Contents = [] } = await runs.client.send(new ListObjectsV2Command({ Bucket: "roslin", Prefix: `${prefix}/` }));
  const names = Contents.map(({ Key }) => Key!.slice(prefix.length + 1));
  if (!names.includes("latest.json")) wrong.push("latest.json is missing");
  if (names.includes(".roslin-may-write")) wrong.push("the object that was tried is left");
  if ((await runs.strays(`${prefix}/`)) > 0) wrong.push("an upload is left");
  return { wrong, calls: proxy.calls };
}

test("the policy in the docs is enough, to go on after a stop and after a failure too, without the right to list", async () => {
  const policy = documented();
  const { wrong, calls } = await publishWith(policy, "rights");
  assert.deepEqual(wrong, []);
  const refused = calls.filter((call) => !allows(policy, "rights", call));
  assert.deepEqual(
    refused.map(({ right, key }) => `${right} ${key}`),
    [],
  );
});

test("every right of the policy in the docs earns its place", async () => {
  const policy = documented();
  const without: Record<string, RegExp> = {
    "s3:PutObject": /give them the right s3:PutObject/,
    "s3:GetObject": /give them the right s3:GetObject/,
    "s3:ListMultipartUploadParts": /give them the right s3:ListMultipartUploadParts/,
    "s3:AbortMultipartUpload": /an upload is left/,
    "s3:DeleteObject": /the object that was tried is left/,
    "s3:ListBucketMultipartUploads": /an upload is left/,
  };
  assert.deepEqual(policy.flatMap(({ Action }) => Action).sort(), Object.keys(without).sort());
  for (const [right, message] of Object.entries(without)) {
    const less = policy.map(({ Action, Resource }) => ({ Action: [Action].flat().filter((each) => each !== right), Resource }));
    const { wrong } = await publishWith(less, `lacks-${right.slice(3)}`);
    assert.match(wrong.join("\n"), message, right);
  }
});

test("a right that is missing is named", async () => {
  for (const right of ["s3:PutObject", "s3:GetObject"]) {
    const proxy = await startProxy(runs.settings.endpoint, (call) => (call.right === right ? denied : null));
    try {
      await assert.rejects(
        runs.go(await runs.bigRun(`s3://roslin/lacks-${right.slice(3)}`), { ...runs.settings, endpoint: proxy.endpoint }),
        (error) => error instanceof ForbiddenError && error.right === right && error.message.includes(`give them the right ${right}`),
      );
    } finally {
      await proxy.stop();
    }
  }
});

test("credentials that expire in the middle end the run, and after renewal it goes on with what had arrived", async () => {
  let expired = false;
  const proxy = await startProxy(runs.settings.endpoint, async ({ part }) => {
    if (part !== null && part !== "1")
      while (!expired) {
        await sleep(20);
        const [key] = readdirSync(join(request.root, "publish"));
        const journals = join(request.root, "publish", key!, "uploads");
        expired = readdirSync(journals).some((name) => readFileSync(join(journals, name), "utf8").includes('{"part":1'));
      }
    return expired ? { status: 400, code: "ExpiredToken" } : null;
  });
  const request = await runs.bigRun("s3://roslin/expired");
  try {
    await assert.rejects(
      runs.go(request, { ...runs.settings, endpoint: proxy.endpoint }),
      (error) => error instanceof UserError && /credentials have expired; renew them/.test(error.message),
    );
  } finally {
    await proxy.stop();
  }
  const again = await startProxy(runs.settings.endpoint, () => null);
  try {
    await runs.go(request, { ...runs.settings, endpoint: again.endpoint });
    assert.equal(again.calls.filter(({ part }) => part !== null).length, 2, "of three parts one had arrived");
  } finally {
    await again.stop();
  }
  assert.equal(await runs.strays("expired/"), 0);
});

test("a run that fails for good leaves no upload; one that is stopped keeps it", async () => {
  const request = await runs.bigRun("s3://roslin/failed");
  await runs.goAndStop(request, runs.settings);
  assert.equal(await runs.strays("failed/"), 1);
  const proxy = await startProxy(runs.settings.endpoint, ({ part }) => (part === "2" ? denied : null));
  await assert.rejects(runs.go(request, { ...runs.settings, endpoint: proxy.endpoint }), ForbiddenError);
  await proxy.stop();
  assert.equal(await runs.strays("failed/"), 0);
});
