import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AbortMultipartUploadCommand, CreateMultipartUploadCommand, ListMultipartUploadsCommand } from "@aws-sdk/client-s3";
import { checkTarget } from "../../../infra/store/check.js";
import { openStore } from "../../../infra/store/open-store.js";
import { BUCKET_DECIDES } from "../../../infra/store/s3-options.js";
import { s3Client } from "../../../infra/store/s3-store.js";
import { startProxy } from "./proxy.js";
import { startTestS3 } from "./weed.js";

/** Uploads of the object that every run tries a target with: those of killed runs, and those of runs at work. */

const WANTED = { ...BUCKET_DECIDES, lifecycle: { abortUploadsAfterDays: null, expireAfterDays: null } };
const never = new AbortController().signal;
let server: Awaited<ReturnType<typeof startTestS3>>;
before(async () => {
  server = await startTestS3();
});
after(() => server.stop());

test("what a killed run left of its tries is removed, and what another run has begun meanwhile is not", async () => {
  const target = "s3://roslin/leftovers";
  const object = { Bucket: "roslin", Key: "leftovers/.roslin-may-write" };
  const client = s3Client(server.settings);
  const begin = async (): Promise<string> => (await client.send(new CreateMultipartUploadCommand(object))).UploadId!;
  await begin();
  await openStore(target, server.settings).write(".roslin-may-write", Buffer.from("left by a killed run"));
  let other: string | null = null;
  const proxy = await startProxy(server.settings.endpoint, async ({ query }) => {
    if (query.get("partNumber") === "2") other ??= await begin();
    return null;
  });
  try {
    await checkTarget(target, { ...server.settings, endpoint: proxy.endpoint }, WANTED, never);
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: "roslin", Prefix: object.Key }));
    assert.deepEqual(
      Uploads.map(({ UploadId }) => UploadId),
      [other],
    );
    assert.deepEqual(await openStore(target, server.settings).list(""), []);
    // the next one is alone
    await checkTarget(target, server.settings, WANTED, never);
    assert.equal((await client.send(new ListMultipartUploadsCommand({ Bucket: "roslin", Prefix: object.Key }))).Uploads, undefined);
  } finally {
    await proxy.stop();
    client.destroy();
  }
});

test("an upload that another run removes while it is tried is tried again", async () => {
  let left = 2;
  const client = s3Client(server.settings);
  const proxy = await startProxy(server.settings.endpoint, async ({ key, query }) => {
    if (query.get("partNumber") === "2" && left-- > 0)
      await client.send(new AbortMultipartUploadCommand({ Bucket: "roslin", Key: key, UploadId: query.get("uploadId")! }));
    return null;
  });
  try {
    const { note } = await checkTarget("s3://roslin/removed", { ...server.settings, endpoint: proxy.endpoint }, WANTED, never);
    assert.equal(note, undefined);
    assert.ok(left < 0);
  } finally {
    await proxy.stop();
    client.destroy();
  }
});
