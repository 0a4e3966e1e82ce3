import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { HeadObjectCommand, ListMultipartUploadsCommand, PutBucketEncryptionCommand } from "@aws-sdk/client-s3";
import { messageOf, UserError } from "../../../core/errors.js";
import { digestFile, type FileDigest } from "../../../infra/disk/file-digest.js";
import { checkTarget } from "../../../infra/store/check.js";
import { openStore } from "../../../infra/store/open-store.js";
import { BUCKET_DECIDES } from "../../../infra/store/s3-options.js";
import { s3Client, type S3Settings } from "../../../infra/store/s3-store.js";
import { readAll, type ObjectStore } from "../../../infra/store/store.js";
import { startFront } from "../sources/front.js";
import { startProxy, type Refusal, type S3Call } from "./proxy.js";
import { signedAnew } from "./resign.js";
import { startTestS3 } from "./weed.js";

/** S3 servers as they are on bad days, before a real one: what can be gone on with is, the rest is one line that says what to do. */

const scratch = mkdtempSync(join(tmpdir(), "roslin-hostile-"));
const path = join(scratch, "file");
const content = Buffer.alloc(20 << 20, "roslin");
const WANTED = { ...BUCKET_DECIDES, lifecycle: { abortUploadsAfterDays: null, expireAfterDays: null } };
const never = new AbortController().signal;
let server: Awaited<ReturnType<typeof startTestS3>>;
let digest: FileDigest;
before(async () => {
  server = await startTestS3();
  writeFileSync(path, content);
  digest = await digestFile(path);
});
after(async () => {
  await server.stop();
  rmSync(scratch, { recursive: true });
});

let count = 0;
/** A store behind a proxy that answers as `refuse` likes. */
async function behind<T>(
  refuse: (call: S3Call, at: number) => Refusal | null,
  work: (store: ObjectStore, settings: S3Settings, calls: readonly S3Call[]) => Promise<T>,
): Promise<T> {
  let calls = 0;
  const proxy = await startProxy(server.settings.endpoint, (call) => refuse(call, calls++));
  const settings = { ...server.settings, endpoint: proxy.endpoint };
  try {
    return await work(openStore(`s3://roslin/hostile-${count++}`, settings), settings, proxy.calls);
  } finally {
    await proxy.stop();
  }
}

const upload = () => ({
  digest,
  journal: join(scratch, `journal-${count++}`),
  onBytes: () => undefined,
  signal: new AbortController().signal,
});

/** Every way to use a store. */
const USES: readonly ((store: ObjectStore) => Promise<unknown>)[] = [
  (store) => store.write("k", Buffer.from("x")),
  (store) => store.create("k", Buffer.from("x")),
  (store) => store.read("k"),
  (store) => store.list(""),
  (store) => store.delete("k"),
  (store) => store.putFile("k", path, upload()),
];

/** Refusals that only the user can end, and what they are told. */
const FINAL: readonly (readonly [Refusal, RegExp])[] = [
  [{ status: 403, code: "RequestTimeTooSkewed" }, /the clock of this machine is wrong; set it/],
  [{ status: 400, code: "ExpiredToken" }, /the credentials have expired; renew them/],
  [{ status: 403, code: "InvalidAccessKeyId" }, /S3 refuses the credentials/],
  [{ status: 403, code: "AccessDenied" }, /give them the right s3:\w+, see docs\/s3\.md/],
  [{ status: 404, code: "NoSuchBucket" }, /there is no such bucket; create it/],
  [{ status: 400, code: "AuthorizationHeaderMalformed" }, /set AWS_REGION/],
  [{ status: 301, code: "PermanentRedirect" }, /set AWS_REGION/],
  [
    { status: 301, code: "Moved", headers: { location: "https://elsewhere.example/path" } },
    /leads elsewhere; set AWS_ENDPOINT_URL_S3 .*location=https:\/\/elsewhere\.example\/path/,
  ],
  [{ status: 302, code: "Found", headers: { location: "/login" } }, /leads elsewhere; set AWS_ENDPOINT_URL_S3 .*location=\/login/],
  [
    { status: 307, code: "TemporaryRedirect", headers: { location: "https://elsewhere.example/" } },
    /leads elsewhere; set AWS_ENDPOINT_URL_S3/,
  ],
];

test("a user error of any call is one line that says what to do", async () => {
  for (const [refusal, message] of FINAL)
    for (const use of USES)
      await behind(
        // a HEAD that is forbidden or finds nothing may only mean that there is no such object
        ({ method }) => (method === "HEAD" && [403, 404].includes(refusal.status) ? null : refusal),
        (store) =>
          assert.rejects(use(store), (error) => {
            assert.ok(error instanceof UserError, `${refusal.code}: ${String(error)}`);
            assert.match(error.message, message);
            assert.ok(!error.message.includes("\n"));
            return true;
          }),
      );
});

test("a server that is overloaded is asked again, and when it stays overloaded, the error is one that time can cure", async () => {
  for (const code of ["SlowDown", "ServiceUnavailable", "InternalError"]) {
    const status = code === "InternalError" ? 500 : 503;
    await behind(
      (_call, at) => (at % 2 === 0 ? { status, code } : null),
      async (store) => {
        assert.equal(await store.putFile("k", path, upload()), true);
        assert.ok((await readAll(store, "k"))!.length === content.length);
      },
    );
    for (const use of USES)
      await behind(
        () => ({ status, code }),
        (store) =>
          assert.rejects(
            use(store),
            (error) => !(error instanceof UserError) && new RegExp(`S3 cannot answer now; .*code=(${code}|${status})`).test(String(error)),
          ),
      );
  }
});

test("a clock that is wrong by an hour is the SDK's to correct", async () => {
  await behind(
    ({ headers }, at) => {
      const skewed =
        at === 0 ? { status: 403, code: "RequestTimeTooSkewed", headers: { date: new Date(Date.now() + 3_600_000).toUTCString() } } : null;
      if (at === 1)
        assert.ok(
          Math.abs(
            Date.parse(String(headers["x-amz-date"]).replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/, "$1-$2-$3T$4:$5:$6Z")) - Date.now(),
          ) > 3_000_000,
        );
      return skewed ?? (at === 1 ? { status: 503, code: "SlowDown", headers: { date: new Date().toUTCString() } } : null);
    },
    (store) => store.write("k", Buffer.from("x")),
  );
});

test("a server that is none of S3's, and takes everything, is found out before anything is published", async () => {
  const web = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "text/html" }).end("<html>Welcome</html>"));
  });
  await new Promise<void>((resolve) => void web.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  try {
    await assert.rejects(
      checkTarget("s3://roslin/web", { ...server.settings, endpoint }, WANTED, never),
      (error) => error instanceof UserError && /gives back other bytes than it was given.*AWS_ENDPOINT_URL_S3/.test(error.message),
    );
  } finally {
    web.closeAllConnections();
    web.close();
  }
});

/** Begins an upload, and drops it where the first `lost` calls to abort it do nothing; what then becomes of it. */
async function dropped(
  lost: number,
  mayList: boolean,
): Promise<{ readonly aborts: number; readonly left: number; readonly error: unknown }> {
  let aborts = 0;
  let listable = true;
  const refuse = ({ right }: S3Call): Refusal | null => {
    if (right === "s3:ListMultipartUploadParts" && !listable) return { status: 403, code: "AccessDenied" };
    return right === "s3:AbortMultipartUpload" && ++aborts <= lost ? { status: 204, code: "" } : null;
  };
  return await behind(refuse, async (store, settings) => {
    const stop = new AbortController();
    const begun = { ...upload(), onBytes: () => stop.abort(new Error("stop")), signal: stop.signal };
    await assert.rejects(store.putFile("k", path, begun), /stop/);
    listable = mayList;
    const error = await store.discard(begun.journal).then(
      () => null,
      (reason: unknown) => reason,
    );
    const client = s3Client(settings);
    const { Uploads = [] } = await client.send(
      new ListMultipartUploadsCommand({ Bucket: "roslin", Prefix: store.uri.slice("s3://roslin/".length) }),
    );
    client.destroy();
    return { aborts, left: Uploads.length, error };
  });
}

test("an upload is aborted again while parts of it are left, as far as they may be listed", async () => {
  assert.deepEqual(await dropped(0, true), { aborts: 1, left: 0, error: null });
  assert.deepEqual(await dropped(2, true), { aborts: 3, left: 0, error: null });
  assert.deepEqual(await dropped(2, false), { aborts: 1, left: 1, error: null });
  const { aborts, error } = await dropped(Infinity, true);
  assert.equal(aborts, 5);
  assert.match(messageOf(error), /removing an unfinished upload failed.*still has parts after it was aborted 5 times/);
});

/** Checks a target while another run removes the object that is tried, before each of the first `times` calls that look at it. */
async function checkDisturbed(times: number, hide: boolean, wanted: Parameters<typeof checkTarget>[2] = WANTED): Promise<void> {
  const target = `s3://roslin/disturbed-${count++}`;
  const other = openStore(target, server.settings);
  let left = times;
  const proxy = await startProxy(
    server.settings.endpoint,
    async ({ right }) => {
      if (right === "s3:GetObject" && left-- > 0) await other.delete(".roslin-may-write");
      return null;
    },
    ({ right }, status) => (hide && right === "s3:GetObject" && status === 404 ? { status: 403, code: "AccessDenied" } : null),
  );
  try {
    await checkTarget(target, { ...server.settings, endpoint: proxy.endpoint }, wanted, never);
    assert.deepEqual(await other.list(""), []);
  } finally {
    await proxy.stop();
  }
}

test("another run that removes the object which is tried does not end this one, with and without the right to list", async () => {
  for (const hide of [false, true])
    for (const wanted of [WANTED, { ...WANTED, storageClass: "STANDARD_IA" as const, tags: { team: "sheep" } }])
      await checkDisturbed(3, hide, wanted);
  await assert.rejects(checkDisturbed(Infinity, true), /give them the right s3:GetObject/);
});

test("runs that check one target at the same moment, kept in different ways, all pass", async () => {
  const ways = [WANTED, { ...WANTED, tags: { team: "sheep" } }, { ...WANTED, storageClass: "STANDARD_IA" as const }];
  for (let round = 0; round < 5; round++)
    await Promise.all(ways.map((wanted) => checkTarget("s3://roslin/same-moment", server.settings, wanted, never)));
});

test("a server that ignores conditions, or cannot keep them, is found out before anything is published", async () => {
  const { secretAccessKey } = server.settings.credentials!;
  const ignoring = await startProxy(
    server.settings.endpoint,
    () => null,
    () => null,
    (method, path, { "if-none-match": _condition, ...headers }) => signedAnew(method, path, headers, secretAccessKey),
  );
  const lacking = await startProxy(server.settings.endpoint, ({ headers }) =>
    headers["if-none-match"] === undefined ? null : { status: 501, code: "NotImplemented" },
  );
  try {
    for (const [{ endpoint }, message] of [
      [ignoring, /overwrites an object that it was told to keep: publishing needs conditional writes.*target=s3:\/\/roslin\/cond/],
      [lacking, /writing an object under a condition failed: this S3 server does not support it/],
    ] as const)
      for (const wanted of [WANTED, { ...WANTED, tags: { team: "sheep" } }])
        await assert.rejects(
          checkTarget("s3://roslin/cond", { ...server.settings, endpoint }, wanted, never),
          (error) => error instanceof UserError && message.test(error.message),
        );
  } finally {
    await ignoring.stop();
    await lacking.stop();
  }
});

test("a server that compares no digests is found out before anything is published, and will be read back", async () => {
  const { secretAccessKey } = server.settings.credentials!;
  const ignoring = await startProxy(
    server.settings.endpoint,
    () => null,
    () => null,
    (method, path, { "x-amz-checksum-sha256": _checksum, "x-amz-sdk-checksum-algorithm": _kind, ...headers }) =>
      signedAnew(method, path, method === "PUT" ? { ...headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } : headers, secretAccessKey),
  );
  try {
    const found = await checkTarget("s3://roslin/digests", { ...server.settings, endpoint: ignoring.endpoint }, WANTED, never);
    assert.equal(found.abilities.checksums, false);
    assert.match(
      found.note!,
      /s3:\/\/roslin\/digests does not check the SHA-256.*does not have the SHA-256 that was sent with it.*read back and compared/,
    );
  } finally {
    await ignoring.stop();
  }
});

test("a read whose connection is cut goes on with the rest of the same object, and never of another", async () => {
  const target = `s3://roslin/cut-${count++}`;
  const store = openStore(target, server.settings);
  await store.write("k", content);
  const front = await startFront(server.settings.endpoint);
  const settings = { ...server.settings, endpoint: front.url };
  try {
    const cut = openStore(target, settings);
    front.cutAfter = 9 << 20;
    assert.ok(content.equals((await readAll(cut, "k"))!));
    assert.equal(front.asked.length, 3);
    assert.match(front.asked[1]!, /bytes=\d+-$/);
    const parts: Uint8Array[] = [];
    for await (const chunk of (await cut.read("k", { start: 5, end: (12 << 20) + 5 }))!) parts.push(chunk);
    assert.ok(content.subarray(5, (12 << 20) + 5).equals(Buffer.concat(parts)));

    const chunks = (await cut.read("k"))!;
    await store.write("k", Buffer.alloc(content.length));
    await assert.rejects(
      async () => {
        for await (const chunk of chunks) assert.ok(chunk.length > 0);
      },
      (error) => error instanceof UserError && /an object changed, or was removed, while it was read.*key=cut-\d+\/k/.test(error.message),
    );
  } finally {
    await front.close();
  }
});

test(
  "a server that knows no ranges is said when a connection is cut, and what it sends instead is let go",
  { timeout: 120_000 },
  async () => {
    const asked: ServerResponse[] = [];
    const web = createServer((_request, response) => {
      asked.push(response);
      response.writeHead(200, { "content-length": 20, etag: '"e"', "x-amz-checksum-crc32": "AAAAAA==" });
      response.write("ten bytes.", () => asked.length === 1 && response.destroy());
    });
    await new Promise<void>((resolve) => void web.listen(0, "127.0.0.1", resolve));
    const endpoint = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    try {
      await assert.rejects(
        readAll(openStore("s3://roslin", { ...server.settings, endpoint }), "k"),
        (error) => error instanceof UserError && /does not serve ranges of bytes/.test(error.message),
      );
      if (!asked[1]!.closed) await once(asked[1]!, "close");
    } finally {
      web.closeAllConnections();
      web.close();
    }
  },
);

test("a bucket that encrypts by default is written and read as any other", async () => {
  const client = s3Client(server.settings);
  const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" as const } };
  await client.send(new PutBucketEncryptionCommand({ Bucket: "roslin", ServerSideEncryptionConfiguration: { Rules: [rule] } }));
  try {
    const store = openStore("s3://roslin/encrypted", server.settings);
    assert.equal(await store.putFile("model", path, upload()), true);
    assert.equal(await store.putFile("model", path, upload()), false, "it is there");
    assert.deepEqual(await readAll(store, "model"), content);
    const { ServerSideEncryption } = await client.send(new HeadObjectCommand({ Bucket: "roslin", Key: "encrypted/model" }));
    assert.equal(ServerSideEncryption, "AES256");
  } finally {
    client.destroy();
  }
});
