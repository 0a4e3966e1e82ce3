import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { ApplicationFailure, CancelledFailure } from "@temporalio/common";
import { ForbiddenError } from "../../core/errors.js";
import { outgoing } from "../../workers/outgoing.js";
import { cleaned, scrubber, shortened } from "../../workers/scrub.js";

const secret = (): string => randomBytes(15).toString("base64");
const secrets = { HF_TOKEN: secret(), AWS_SECRET_ACCESS_KEY: `${secret()}/+a`, TEMPORAL_API_KEY: secret(), PGPASSWORD: secret() };
const scrub = scrubber({ ...secrets, HOME: "/home/somebody", SHORT_TOKEN: "abc" }, ["of-a-token-file", null]);

test("values of variables that hold secrets are replaced, in addresses too; other values stay", () => {
  for (const [name, value] of Object.entries(secrets))
    for (const form of [value, encodeURIComponent(value)]) assert.equal(scrub(`before ${form} after`), "before *** after", name);
  assert.equal(scrub("read of-a-token-file"), "read ***");
  assert.equal(scrub("abc of /home/somebody"), "abc of /home/somebody");
});

test("forms of secrets are replaced whatever their values", () => {
  const made = randomBytes(20).toString("hex");
  const texts = [
    `authorization: Bearer ${made}`,
    `{"Authorization":"AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature=${made}"}`,
    `headers: { authorization: 'Basic ${made}', host: 'x' }`,
    `[ 'authorization', 'Bearer ${made}' ]`,
    `Proxy-Authorization=${made}`,
    `https://b.s3.amazonaws.com/k?X-Amz-Signature=${made}&X-Amz-Date=1`,
    `https://b.s3.amazonaws.com/k?X-Amz-Credential=${made}%2F2026&X-Amz-Security-Token=${made}`,
    `https://cdn-lfs.hf.co/x?Expires=1&Signature=${made}~__&Key-Pair-Id=K`,
    `https://a.blob.core.windows.net/x?sv=1&sig=${made}%3D`,
    `connect to http://somebody:${made}@proxy:3128 failed`,
    `HF_ENDPOINT=https://${made}@mirror/`,
    `the token hf_${made} is wrong`,
    `x-amz-security-token: ${made}`,
  ];
  for (const text of texts) {
    const clean = scrub(text);
    assert.ok(!clean.includes(made) && clean.includes("***"), clean);
  }
  assert.equal(scrub(texts[5]!), "https://b.s3.amazonaws.com/k?X-Amz-Signature=***&X-Amz-Date=1");
  assert.equal(scrub(texts[9]!), "connect to http://***@proxy:3128 failed");
  // what only looks like one
  for (const plain of ["s3://bucket/a@b", "hf://org/name@main", "config=1, design=2", "see https://host/a@b/c", "the signature is wrong"])
    assert.equal(scrub(plain), plain);
});

test("a failure keeps its class and leaves short and without secrets, with stack, details and causes", () => {
  const deepest = new Error(`from ${secrets.HF_TOKEN}`);
  const failure = ApplicationFailure.create({
    message: `start ${"x".repeat(3 << 20)} ${secrets.HF_TOKEN} end`,
    type: "Strange",
    details: [{ url: `http://a:${secrets.PGPASSWORD}@h/`, rows: "y".repeat(1 << 20) }, 7],
    cause: new ForbiddenError("s3:PutObject", `said ${secrets.AWS_SECRET_ACCESS_KEY}`, {}, { cause: deepest }),
  });
  const sent = outgoing(failure, scrub);
  assert.equal(sent, failure);
  assert.ok(sent instanceof ApplicationFailure);
  assert.equal(sent.type, "Strange");
  assert.match(sent.message, /^start x+ … 3\d+ characters left out … x+ \*\*\* end$/);
  const cause = sent.cause!;
  assert.equal(cause.name, "ForbiddenError");
  assert.equal(cause.message, "said ***");
  assert.equal((cause.cause as Error).message, "from ***");
  const all = JSON.stringify([sent.message, sent.stack, sent.details, cause.message, cause.stack, deepest.message, deepest.stack]);
  for (const value of Object.values(secrets)) assert.ok(!all.includes(value));
  assert.ok(all.length < 64_000, `${all.length}`);
  assert.equal(sent.details![1], 7);
});

test("other ends of an activity stay what they are: cancellation, an error that is not one, and an endless chain of causes", () => {
  const cancelled = new CancelledFailure("stop");
  assert.equal(outgoing(cancelled, scrub), cancelled);
  assert.equal((outgoing(`thrown ${secrets.HF_TOKEN}`, scrub) as Error).message, "thrown ***");
  const loop = new Error("one");
  loop.cause = new Error("two", { cause: loop });
  let depth = 0;
  for (let at: unknown = outgoing(loop, scrub); at instanceof Error && depth < 100; at = at.cause) depth++;
  assert.ok(depth < 100);
  const frozen = Object.freeze(new Error("frozen"));
  assert.equal((outgoing(frozen, scrub) as Error).message, "frozen");
});

test("details of a heartbeat keep their form where they are short, and are a short text where they are not", () => {
  assert.deepEqual(cleaned({ done: 3, note: `at ${secrets.HF_TOKEN}`, list: [null, true] }, scrub, 100), {
    done: 3,
    note: "at ***",
    list: [null, true],
  });
  const long = cleaned({ lines: Array.from({ length: 1000 }, () => "z".repeat(90)) }, scrub, 1000);
  assert.equal(typeof long, "string");
  assert.ok((long as string).length <= 1000);
  assert.equal(shortened("abc", 3), "abc");
});
