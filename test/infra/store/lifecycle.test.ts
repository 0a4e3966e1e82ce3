import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { setLifecycle } from "../../../infra/store/s3-lifecycle.js";

/** What Amazon's S3 keeps of a bucket's rules, which the tests' server does not. */
const LEAST = "x-amz-transition-default-minimum-object-size";
const OLD = `<Rule><ID>old</ID><Prefix>logs/</Prefix><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule>`;
const NEW = `<Rule><ID>new</ID><Filter><And><Prefix>tmp/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter><Status>Disabled</Status><Expiration><Days>4</Days></Expiration></Rule>`;

/** Sets a lifecycle of 7 days and so many in a bucket with these rules; the header and the rules that are sent, null: nothing is. */
async function set(
  rules: string,
  headers: Record<string, string> = {},
  target = "s3://bucket/models",
  expireAfterDays: number | null = 30,
): Promise<{ least: unknown; rules: string[] } | null> {
  let sent: Awaited<ReturnType<typeof set>> = null;
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => void (body += chunk.toString()));
    request.on("end", () => {
      if (request.method === "GET") {
        response.writeHead(200, { "content-type": "application/xml", ...headers });
        return response.end(`<LifecycleConfiguration>${rules}</LifecycleConfiguration>`);
      }
      sent = { least: request.headers[LEAST], rules: body.match(/<Rule>.*?<\/Rule>/g) ?? [] };
      return response.end();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  try {
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const settings = { endpoint, credentials: { accessKeyId: "a", secretAccessKey: "b" } };
    await setLifecycle(target, settings, { abortUploadsAfterDays: 7, expireAfterDays }, new AbortController().signal);
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return sent;
}

test("a bucket's other rules stay what they are, in the form that S3 takes beside ours, and so does its least size for transitions", async () => {
  const { least, rules } = (await set(OLD + NEW, { [LEAST]: "varies_by_storage_class" }))!;
  assert.equal(least, "varies_by_storage_class");
  const [old, other] = rules;
  assert.equal(rules.length, 3);
  assert.match(old!, /<ID>old<\/ID>/);
  assert.match(old!, /<Filter><Prefix>logs\/<\/Prefix><\/Filter>/);
  assert.match(old!, /<Expiration><Days>3<\/Days><\/Expiration>/);
  assert.equal(old!.match(/Prefix>/g)!.length, 2);
  assert.match(other!, /<And><Prefix>tmp\/<\/Prefix><Tag><Key>a<\/Key><Value>b<\/Value><\/Tag><\/And>/);
  assert.equal((await set(NEW))!.least, undefined);
});

test("what expires is gone from a bucket with versions too, and a rule that is there is not sent again", async () => {
  const [own] = (await set(""))!.rules;
  assert.match(own!, /<Expiration><Days>30<\/Days><\/Expiration>/);
  assert.match(own!, /<NoncurrentVersionExpiration><NoncurrentDays>30<\/NoncurrentDays><\/NoncurrentVersionExpiration>/);
  assert.match(own!, /<DaysAfterInitiation>7<\/DaysAfterInitiation>/);
  assert.equal(await set(OLD + own!), null);
});

test("what others keep in a bucket is not let expire: at its root that is refused, and nothing is sent", async () => {
  for (const target of ["s3://bucket", "s3://bucket/"])
    await assert.rejects(set("", {}, target), (error) => error instanceof UserError && /publish below a prefix/.test(error.message));
  const [rule] = (await set("", {}, "s3://bucket", null))!.rules;
  assert.match(rule!, /<DaysAfterInitiation>7</);
  assert.doesNotMatch(rule!, /Expiration/);
});
