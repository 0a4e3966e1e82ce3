import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { StageRequest } from "../../../activities/common/stage.js";
import { publish } from "../../../activities/publish/publish.js";
import { CorruptError, UserError } from "../../../core/errors.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { digestPublished, openPublished } from "../../../infra/sources/published.js";
import { checkTarget } from "../../../infra/store/check.js";
import { openStore } from "../../../infra/store/open-store.js";
import { readAll } from "../../../infra/store/store.js";
import { BUCKET_DECIDES } from "../../../infra/store/s3-options.js";
import { finishedRun, publishDependencies } from "../../activities/publish/run.js";
import { hasChecksum, strip, withKind, type Kind, type KindCall } from "./server-kinds.js";
import { startTestS3 } from "./weed.js";

/** What planning says of each kind of server, and what publishing does there. */

const WANTED = { ...BUCKET_DECIDES, lifecycle: { abortUploadsAfterDays: null, expireAfterDays: null } };
const never = new AbortController().signal;
const root = mkdtempSync(join(tmpdir(), "roslin-kinds-"));
let server: Awaited<ReturnType<typeof startTestS3>>;
before(async () => {
  server = await startTestS3();
});
after(async () => {
  await server.stop();
  rmSync(root, { recursive: true });
});

const CHECKSUMS = /^x-amz-(sdk-)?checksum/;
const isCompletion = ({ method, query }: KindCall): boolean => method === "POST" && query.has("uploadId");
const ignoresChecksums = (call: KindCall): null => {
  strip(call, CHECKSUMS);
  return null;
};
const drop =
  (names: RegExp) =>
  (_call: KindCall, headers: Record<string, unknown>): void => {
    for (const name of Object.keys(headers)) if (names.test(name)) delete headers[name];
  };

/** Kinds that are published to: the note of `plan`, undefined if the server checks all. */
const SUPPORTED: readonly (readonly [name: string, kind: Kind, note: RegExp | undefined])[] = [
  ["SeaweedFS", {}, undefined],
  [
    "Google's, which completes no upload with checksums",
    {
      ask: (call) => (isCompletion(call) && hasChecksum(call) ? { status: 412, code: "PreconditionFailed" } : null),
    },
    /does not check the SHA-256.*refuses an upload in parts that is sent with one/,
  ],
  ["one that ignores checksums", { ask: ignoresChecksums }, /takes an object that does not have the SHA-256 that was sent with it/],
  [
    "one that ignores the checksums of parts",
    {
      ask: (call) => (/part|upload/.test(call.query.toString()) ? ignoresChecksums(call) : null),
    },
    /takes a part that does not have the SHA-256 that was sent with it/,
  ],
  [
    "B2's, which refuses the headers of checksums",
    {
      ask: ({ headers }) => {
        const name = Object.keys(headers).find((each) => CHECKSUMS.test(each));
        return name === undefined ? null : { status: 400, code: "InvalidArgument", said: `Unsupported header '${name}'` };
      },
    },
    /refuses objects that are sent with one \(Unsupported header/,
  ],
  [
    "R2's of old, which answers 501 to them",
    { ask: (call) => (hasChecksum(call) ? { status: 501, code: "NotImplemented" } : null) },
    /refuses objects that are sent with one/,
  ],
  [
    "Hugging Face's, which keeps no metadata and redirects to a CDN",
    {
      redirects: true,
      path: "/team",
      ask: (call) => {
        strip(call, CHECKSUMS);
        strip(call, /^x-amz-(meta-|tagging|storage-class|server-side)/);
        if (call.method === "GET") strip(call, /^if-match$/);
        return null;
      },
    },
    /takes an object that does not have the SHA-256 that was sent with it/,
  ],
  ["one that compares checksums and does not keep them", { answer: drop(/^x-amz-checksum/) }, undefined],
  [
    "one that refuses metadata",
    {
      ask: ({ headers }) =>
        Object.keys(headers).some((name) => name.startsWith("x-amz-meta-")) ? { status: 400, code: "InvalidArgument" } : null,
    },
    undefined,
  ],
  ["one that keeps neither", { answer: drop(/^x-amz-(checksum|meta)/) }, undefined],
  [
    "one that sends the whole's checksum with a range",
    {
      answer: (call, headers) => {
        if (call.headers.range !== undefined) headers["x-amz-checksum-crc32"] = "AAAAAA==";
      },
    },
    undefined,
  ],
];

/** Kinds that `plan` refuses, and in what words. */
const REFUSED: readonly (readonly [name: string, kind: Kind, message: RegExp])[] = [
  [
    "one without If-Match",
    {
      ask: ({ headers, method }) =>
        method === "PUT" && headers["if-match"] !== undefined ? { status: 501, code: "NotImplemented" } : null,
    },
    /under a condition failed: this S3 server does not support it.*condition=If-Match/,
  ],
  [
    "one that ignores If-Match",
    { ask: (call) => (strip(call, /^if-match$/), null) },
    /overwrites another version of an object than it was told to.*condition=If-Match/,
  ],
  [
    "one that refuses every If-Match",
    {
      ask: ({ headers, method }) =>
        method === "PUT" && headers["if-match"] !== undefined ? { status: 412, code: "PreconditionFailed" } : null,
    },
    /does not replace an object when the condition names its version.*condition=If-Match/,
  ],
  [
    "one that ignores If-None-Match",
    { ask: (call) => (strip(call, /^if-none-match$/), null) },
    /overwrites an object that it was told to keep.*condition=If-None-Match/,
  ],
  ["one without ranges", { ask: (call) => (strip(call, /^range$/), null) }, /does not serve ranges of bytes/],
  [
    "one without uploads in parts",
    { ask: ({ query }) => (query.has("uploads") && query.size > 0 ? { status: 501, code: "NotImplemented" } : null) },
    /uploading an object in parts failed: this S3 server does not support it/,
  ],
  [
    "one that does not list parts",
    { ask: ({ method, query }) => (method === "GET" && query.has("uploadId") ? { status: 405, code: "MethodNotAllowed" } : null) },
    /listing an upload's parts failed: the server does not allow this/,
  ],
  [
    "one that checks nothing, and damages what came in parts",
    {
      ask: (call) => {
        if (call.query.has("partNumber") && call.body.length > 1 << 20) call.body[5]! ^= 1;
        return ignoresChecksums(call);
      },
    },
    /does not check what is sent, and gives back other bytes than it was given/,
  ],
];

let count = 0;
const context = (signal = never) => ({ signal, progress: () => undefined });

/** A run with a file that goes up in three parts. */
const bigRun = (target: string) =>
  finishedRun(join(root, `run-${count++}`), target, true, { "vocab.json": Buffer.alloc(17 << 20, randomBytes(1 << 16)) });

/** A run whose files go up whole; no two are the same. */
const smallRun = (target: string) => finishedRun(join(root, `run-${count++}`), target, true, { "merges.txt": randomBytes(64) });

/** Publishes in a process that is killed when the first part of a file has arrived. */
async function publishAndKill(request: StageRequest, kind: Kind): Promise<void> {
  let publishing!: ReturnType<typeof spawn>;
  const hasPart = (): boolean => {
    const [key] = readdirSync(join(request.root, "publish"));
    const journals = join(request.root, "publish", key!, "uploads");
    return readdirSync(journals).some((name) => readFileSync(join(journals, name), "utf8").includes('{"part":1'));
  };
  const killing: Kind = {
    ...kind,
    ask: async (call) => {
      if (call.key.endsWith("vocab.json") && ["2", "3"].includes(call.query.get("partNumber") ?? "")) {
        while (!hasPart()) await sleep(10);
        publishing.kill("SIGKILL");
      }
      return (await kind.ask?.(call)) ?? null;
    },
  };
  await withKind(server.settings, killing, async (settings) => {
    const child = fileURLToPath(new URL("../../activities/publish/publish-child.js", import.meta.url));
    publishing = spawn(process.execPath, ["--no-warnings", child, JSON.stringify({ request, settings })], { stdio: "inherit" });
    const [, signal] = (await once(publishing, "exit")) as [number | null, string | null];
    assert.equal(signal, "SIGKILL");
  });
}

/** Kinds whose answers to an upload that goes on after a kill differ from all others'; the rest would repeat these in a minute. */
const KILLED = /^(SeaweedFS|Google|one that ignores checksums|Hugging)/;

for (const [name, kind, note] of SUPPORTED)
  test(`a server like ${name}: what is published has the same bytes, ${KILLED.test(name) ? "after a kill too, " : ""}and latest.json moves`, async () => {
    const target = `s3://roslin/kind-${count++}`;
    const run = await (KILLED.test(name) ? bigRun(target) : smallRun(target));
    if (KILLED.test(name)) await publishAndKill(run, kind);
    await withKind(server.settings, kind, async (settings, calls) => {
      const found = await checkTarget(target, settings, WANTED, never);
      if (note === undefined) assert.equal(found.note, undefined);
      else assert.match(found.note!, note);
      const before = calls.length;
      const first = await publish(publishDependencies(settings), run, context());
      const parts = calls.slice(before).filter(({ query, key }) => query.has("partNumber") && key.endsWith("vocab.json"));
      assert.ok(parts.length < 3, `${parts.length} parts were sent again`);
      assert.equal(first.metrics["readBack"], note === undefined ? undefined : true);
      const second = await publish(publishDependencies(settings), await smallRun(target), context());
      assert.deepEqual([first.metrics["latest"], second.metrics["latest"]], [true, true]);
      assert.equal((await publish(publishDependencies(settings), run, context())).reused, true);
      rmSync(join(run.root, "publish"), { recursive: true });
      const again = await publish(publishDependencies(settings), run, context());
      assert.equal(again.metrics["bytesSent"], 0);
      // with the server's own eyes, and through this kind
      for (const how of [server.settings, settings]) {
        assert.equal((await openPublished(target, how)).manifest.name, second.metrics["version"]);
        for (const { outputs } of [first, second]) {
          const { store, manifest } = await openPublished(outputs[0]!.uri, how);
          for (const file of manifest.files) assert.equal((await digestPublished(store, file.name, never))!.sha256, file.sha256, file.name);
        }
      }
      assert.ok(!(await openStore(target, server.settings).list("")).some(({ key }) => key.startsWith(".roslin")));
      const source = await createBuckets({ settings, cacheDirectory: join(root, `cache-${count++}`) }).open("model", target, never);
      const files = await source.fetch(source.files, { signal: never, onBytes: () => undefined, onNote: () => undefined });
      assert.equal(files.length, source.files.length);
    });
  });

for (const [name, kind, message] of REFUSED)
  test(`a server like ${name} is refused by plan, in words`, async () => {
    await withKind(server.settings, kind, (settings) =>
      assert.rejects(checkTarget(`s3://roslin/kind-${count++}`, settings, WANTED, never), (error) => {
        assert.ok(error instanceof UserError, String(error));
        assert.match(error.message, message);
        return true;
      }),
    );
  });

test("what a server that checks nothing damages is found when it is read back, and is not published", async () => {
  const damages: Kind = {
    ask: (call) => {
      if (call.query.has("partNumber") && call.key.endsWith("vocab.json")) call.body[5]! ^= 1;
      return ignoresChecksums(call);
    },
  };
  const target = `s3://roslin/kind-${count++}`;
  await withKind(server.settings, damages, async (settings) =>
    assert.rejects(
      publish(publishDependencies(settings), await bigRun(target), context()),
      (error) => error instanceof CorruptError && /other bytes when it is read back.*vocab\.json/.test(error.message),
    ),
  );
  const names = (await openStore(target, server.settings).list("")).map(({ key }) => key);
  assert.ok(!names.some((key) => /manifest|latest/.test(key)), names.join());
});

test("settings that a server would ignore are refused where it keeps no metadata, by which they are known", async () => {
  const [, kind] = SUPPORTED.find(([name]) => name.startsWith("Hugging"))!;
  await withKind(server.settings, kind, (settings) =>
    assert.rejects(
      checkTarget("s3://roslin/kind-tags", settings, { ...WANTED, tags: { team: "sheep" } }, never),
      /does not keep them as a setting asks.*publish\.tags: the server (ignores|keeps no metadata)/s,
    ),
  );
});

test("reads that overlap all succeed where the server refuses the header that asks for checksums", async () => {
  const MODE = "x-amz-checksum-mode";
  const asked: KindCall[] = [];
  const kind: Kind = {
    ask: async (call) => {
      if (call.headers[MODE] === undefined) return null;
      asked.push(call);
      // the others' refusals arrive when the first reader has its bytes
      if (asked.length > 1) await firstRead;
      return { status: 400, code: "InvalidArgument", said: `Unsupported header '${MODE}'` };
    },
  };
  let firstRead: Promise<unknown> = Promise.resolve();
  await withKind(server.settings, kind, async (settings) => {
    const target = `s3://roslin/kind-${count++}`;
    await openStore(target, server.settings).write("key", Buffer.from("bytes"));
    const store = openStore(target, settings);
    firstRead = readAll(store, "key");
    const all = await Promise.all([firstRead, readAll(store, "key"), readAll(store, "key")]);
    assert.deepEqual(all.map(String), ["bytes", "bytes", "bytes"]);
    assert.equal(asked.length, 3);
  });
});
