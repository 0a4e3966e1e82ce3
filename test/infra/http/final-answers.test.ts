import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CorruptError, messageOf, UserError } from "../../../core/errors.js";
import { digestFile } from "../../../infra/disk/file-digest.js";
import { withRetries } from "../../../infra/http/retries.js";
import { get, type Site } from "../../../infra/http/web.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { objectSource, read } from "../../../infra/sources/objects.js";
import { createHub } from "../../../infra/sources/hub/hub.js";
import { checkTarget } from "../../../infra/store/check.js";
import { openStore } from "../../../infra/store/open-store.js";
import { BUCKET_DECIDES } from "../../../infra/store/s3-options.js";

/** How often each client asks again after which answer, and what it says then. */

const root = mkdtempSync(join(tmpdir(), "roslin-final-"));
const path = join(root, "file");
writeFileSync(path, "wool");
after(() => rmSync(root, { recursive: true }));
const never = new AbortController().signal;
const TIMING = { stallMs: 5000, retryMs: 1 };
const WANTED = { ...BUCKET_DECIDES, lifecycle: { abortUploadsAfterDays: null, expireAfterDays: null } };

interface Said {
  readonly status: number;
  /** null: the answer has no body */
  readonly code: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What one use of a server that always says the same ends with, and the requests that it takes. */
async function asked(
  said: Said,
  use: (endpoint: string) => Promise<unknown>,
  from = 0,
): Promise<{ readonly error: unknown; readonly asked: readonly string[] }> {
  const requests: string[] = [];
  const server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    incoming.resume().on("end", () => {
      requests.push(`${incoming.method} ${incoming.url!.split("?")[0]}`);
      const text =
        said.code === null ? undefined : `<?xml version="1.0"?><Error><Code>${said.code}</Code><Message>said by the test</Message></Error>`;
      if (requests.length <= from) outgoing.writeHead(200).end();
      else outgoing.writeHead(said.status, { "content-type": "application/xml", ...said.headers }).end(text);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  try {
    const error = await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`).then(
      () => null,
      (reason: unknown) => reason,
    );
    return { error, asked: requests };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

const settingsOf = (endpoint: string) => ({ endpoint, region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "b" } });
const storeAt = (endpoint: string) => openStore("s3://roslin/final", settingsOf(endpoint));
const bytes = Buffer.from("x");
const upload = async () => ({ digest: await digestFile(path), journal: join(root, "journal"), onBytes: () => undefined, signal: never });
const access = (endpoint: string) => ({ settings: settingsOf(endpoint), bucket: "roslin", timing: TIMING });

/** Every way in which Roslin asks S3, with the requests that one try takes. HEAD is no try of the same: it looks whether an object is there. */
const USES: readonly (readonly [name: string, use: (endpoint: string) => Promise<unknown>])[] = [
  ["write", (endpoint) => storeAt(endpoint).write("k", bytes)],
  ["create", (endpoint) => storeAt(endpoint).create("k", bytes)],
  ["read", (endpoint) => storeAt(endpoint).read("k")],
  ["list", (endpoint) => storeAt(endpoint).list("")],
  ["delete", (endpoint) => storeAt(endpoint).delete("k")],
  ["upload", async (endpoint) => storeAt(endpoint).putFile("k", path, await upload())],
  [
    "source: list",
    (endpoint) =>
      createBuckets({ settings: settingsOf(endpoint), cacheDirectory: root, timing: TIMING }).open(
        "dataset",
        "s3://roslin/rows.json",
        never,
      ),
  ],
  [
    "source: read",
    (endpoint) => {
      const { place } = objectSource({ access: access(endpoint), key: "k", etag: null });
      return withRetries(
        TIMING,
        { signal: never },
        () => 0,
        () => read(place as Parameters<typeof read>[0], null, { take: () => undefined } as unknown as Parameters<typeof read>[2]),
      );
    },
  ],
];

const FINAL: readonly Said[] = [
  { status: 400, code: "InvalidArgument" },
  { status: 401, code: "Unauthorized" },
  { status: 403, code: "AccessDenied" },
  { status: 404, code: "NoSuchBucket" },
  { status: 404, code: "NotHere" },
  { status: 405, code: "MethodNotAllowed" },
  { status: 409, code: "InvalidBucketState" },
  { status: 411, code: "MissingContentLength" },
  { status: 412, code: "Odd" },
  { status: 413, code: "EntityTooLarge" },
  { status: 416, code: "InvalidRange" },
  { status: 422, code: "Unprocessable" },
  { status: 451, code: "Withheld" },
  { status: 501, code: "NotImplemented" },
];

for (const said of FINAL)
  test(`S3's ${said.status} ${said.code} is final at once, and the message says what to do`, async () => {
    for (const [name, use] of USES) {
      const { error, asked: requests } = await asked(said, use);
      assert.ok(error instanceof UserError, `${name}: ${String(error)}`);
      const heads = requests.filter((each) => each.startsWith("HEAD"));
      // some servers refuse the header that asks for checksums in this way, and say nothing: HEAD is sent again without it
      assert.ok(heads.length <= ([400, 501].includes(said.status) ? 2 : 1), `${name}: ${requests.join(", ")}`);
      const others = requests.length - heads.length;
      assert.ok(heads.length === 0 ? others === 1 : others <= 1, `${name}: ${requests.join(", ")}`);
      if (name.startsWith("source: read")) continue;
      assert.match(error.message, new RegExp(`code=(${said.code}|${said.status})\\b`), name);
      assert.match(error.message, /failed: .*[;:] .*\[/, name);
    }
  });

test("a 404 without a word means that there is no such object, as NoSuchKey does", async () => {
  for (const said of [
    { status: 404, code: "NoSuchKey" },
    { status: 404, code: null },
  ]) {
    const { error } = await asked(said, async (endpoint) => {
      assert.equal(await storeAt(endpoint).read("k"), null);
      assert.equal(await storeAt(endpoint).replace("k", bytes, bytes), false);
    });
    assert.equal(error, null);
  }
});

test("what S3 may answer otherwise a moment later is asked again, and is never the user's fault", async () => {
  for (const said of [
    { status: 400, code: "RequestTimeout" },
    { status: 408, code: "Slow" },
    { status: 425, code: "TooEarly" },
    { status: 429, code: "TooMany", headers: { "retry-after": "1" } },
    { status: 500, code: "InternalError" },
    { status: 503, code: "SlowDown" },
  ])
    for (const [name, use] of USES.slice(0, 4)) {
      const { error, asked: requests } = await asked(said, use);
      assert.ok(error instanceof Error && !(error instanceof UserError), `${name}: ${String(error)}`);
      assert.match(messageOf(error), new RegExp(`S3 cannot answer now; try again later.*code=${said.code}, status=${said.status}`), name);
      assert.equal(requests.filter((each) => !each.startsWith("HEAD")).length, 3, `${name}: ${requests.join(", ")}`);
    }
});

test("a 429 is asked again no sooner than its Retry-After says", async () => {
  const started = performance.now();
  await asked({ status: 429, code: "TooMany", headers: { "retry-after": "2" } }, (endpoint) => storeAt(endpoint).write("k", bytes));
  assert.ok(performance.now() - started > 3900);
});

test("a conflict with another writer passes: it is not the user's to end, and not asked again within the call", async () => {
  for (const code of ["OperationAborted", "ConditionalRequestConflict"]) {
    const { error, asked: requests } = await asked({ status: 409, code }, (endpoint) => storeAt(endpoint).write("k", bytes));
    assert.ok(error instanceof Error && !(error instanceof UserError));
    assert.equal(requests.length, 1);
  }
});

test("bytes that were damaged on their way are corrupt, not the user's fault", async () => {
  const { error } = await asked({ status: 400, code: "BadDigest" }, (endpoint) => storeAt(endpoint).write("k", bytes));
  assert.ok(error instanceof CorruptError, String(error));
});

test("a target whose server gives a final answer is refused after one write", async () => {
  for (const said of FINAL.filter(
    ({ status }) => status !== 400 && status !== 405 && status !== 411 && status !== 412 && status !== 422 && status !== 501,
  )) {
    const { error, asked: requests } = await asked(said, (endpoint) =>
      checkTarget("s3://roslin/final", settingsOf(endpoint), WANTED, never),
    );
    assert.ok(error instanceof UserError, String(error));
    assert.equal(requests.filter((each) => each.startsWith("PUT")).length, 1, requests.join(", "));
  }
});

const SITE: Site = { name: "the server", timing: TIMING, headersFor: () => ({}), followsHead: () => true, refusal: () => null };

test("web servers and the hub: 4xx but 408, 425 and 429 are final at once, and so is 501", async () => {
  const ways: readonly (readonly [string, (endpoint: string) => Promise<unknown>])[] = [
    [
      "web",
      (endpoint) =>
        withRetries(
          TIMING,
          { signal: never },
          () => 0,
          () => get(SITE, `${endpoint}/x`, {}, () => undefined),
        ),
    ],
    [
      "hub",
      (endpoint) =>
        createHub({ endpoint, token: null, cacheDirectory: join(root, "hub"), timing: TIMING }).resolve(
          { kind: "models", id: "owner/name", revision: "main" },
          never,
        ),
    ],
  ];
  for (const [name, use] of ways) {
    for (const { status, code } of FINAL) {
      const { error, asked: requests } = await asked({ status, code }, use);
      assert.equal(requests.length, 1, `${name} ${status}: ${requests.join(", ")}`);
      assert.ok(error instanceof UserError, `${name} ${status}: ${String(error)}`);
    }
    for (const status of [408, 425, 429, 500, 503])
      assert.equal((await asked({ status, code: "" }, use)).asked.length, 7, `${name} ${status}`);
  }
});
