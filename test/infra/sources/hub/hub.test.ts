import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { lstat, mkdir, readFile, readdir, readlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { HubReference } from "../../../../core/config/source-ref.js";
import { createHub, type Hub } from "../../../../infra/sources/hub/hub.js";
import { checkRoom, type Remote } from "../../../../infra/sources/remote.js";
import { cutAfter, noise, startTestHub, type TestHub } from "./harness.js";

const MIB = 2 ** 20;
const WEIGHTS = noise(3 * MIB + 7);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function setUp(context: TestContext, files: Record<string, Uint8Array | string> = {}): Promise<{ server: TestHub; hub: Hub }> {
  const server = await startTestHub({
    "models/org/m/model.safetensors": WEIGHTS,
    "models/org/m/config.json": "{}",
    "models/org/m/sub/empty.txt": "",
    ...files,
  });
  context.after(() => server.close());
  return { server, hub: hubOf(server) };
}

function hubOf(server: TestHub, token: string | null = null, timing = { stallMs: 2000, retryMs: 1 }): Hub {
  return createHub({ endpoint: server.url, token, cacheDirectory: join(server.work, "hub"), timing });
}

const never = new AbortController().signal;
const quiet = { signal: never, onBytes: () => {}, onNote: () => {} };
const commitOf = ({ origin }: Remote): string => origin.uri.split("@")[1]!;
const reference: HubReference = { kind: "models", id: "org/m", revision: "main" };

test("files arrive in the standard cache: blobs by digest, relative links in snapshots, the branch in refs", async (context) => {
  const { server, hub } = await setUp(context);
  const repository = await hub.resolve(reference, never);
  const cached = await repository.fetch(repository.files, quiet);
  const folder = join(server.work, "hub", "models--org--m");
  assert.deepEqual(
    cached.map(({ path }) => path),
    ["config.json", "model.safetensors", "sub/empty.txt"],
  );
  assert.equal(cached[1]!.sha256, sha256(WEIGHTS));
  assert.equal(await readFile(join(folder, "refs", "main"), "utf8"), commitOf(repository));
  assert.equal(
    await readlink(join(folder, "snapshots", commitOf(repository), "model.safetensors")),
    join("..", "..", "blobs", sha256(WEIGHTS)),
  );
  assert.equal(
    await readlink(join(folder, "snapshots", commitOf(repository), "sub", "empty.txt")),
    "../../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
  );
  assert.deepEqual(await readFile(join(folder, "snapshots", commitOf(repository), "model.safetensors")), WEIGHTS);
  assert.equal((await readdir(join(folder, "blobs"))).length, 3, "no partial file, journal or lock is left");
});

test("what is in the cache is digested, not fetched again; a corrupt blob is set aside and fetched anew", async (context) => {
  const { server, hub } = await setUp(context);
  const repository = await hub.resolve(reference, never);
  const [first] = await repository.fetch(repository.files.slice(1, 2), quiet);
  const sent = server.sent;
  assert.equal((await repository.fetch(repository.files.slice(1, 2), quiet))[0]!.fetched, 0);
  assert.equal(server.sent, sent);
  const bad = Buffer.from(WEIGHTS);
  bad[5]! ^= 1;
  await writeFile(first!.blob, bad);
  assert.equal((await repository.fetch(repository.files.slice(1, 2), quiet))[0]!.fetched, WEIGHTS.length);
  assert.deepEqual(await readFile(first!.blob), WEIGHTS);
  assert.deepEqual(await readFile(`${first!.blob}.bad`), bad);
});

test("a cut connection goes on from the byte that it reached", async (context) => {
  const { server, hub } = await setUp(context);
  let cuts = 0;
  server.misbehave = (request, response) => {
    if (request.url!.endsWith("model.safetensors") && cuts++ < 2) cutAfter(response, MIB);
    return false;
  };
  const repository = await hub.resolve(reference, never);
  const [file] = await repository.fetch(repository.files.slice(1, 2), quiet);
  assert.equal(file!.fetched, WEIGHTS.length);
  const ranges = server.requests.slice(1).map(({ range }) => range);
  assert.equal(ranges[0], undefined);
  // the last bytes before a cut may be lost on the way
  const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-3145734$/.exec(range!)![1]));
  assert.ok(starts.length === 2 && starts[0]! > MIB / 2 && starts[0]! <= MIB && starts[1]! > starts[0]! + MIB / 2, String(starts));
});

test("an aborted download is resumed by the next process from its journal", async (context) => {
  const { server, hub } = await setUp(context);
  const repository = await hub.resolve(reference, never);
  const abort = new AbortController();
  server.misbehave = (request, response) => {
    if (request.url!.endsWith("model.safetensors") && request.headers.range === undefined) cutAfter(response, 2.5 * MIB);
    return false;
  };
  const onBytes = (done: number): void => void (done >= 2 * MIB && abort.abort(new Error("stopped here")));
  await assert.rejects(repository.fetch(repository.files.slice(1, 2), { ...quiet, signal: abort.signal, onBytes }), /stopped here/);
  const missing = await repository.missing(repository.files.slice(1, 2));
  assert.ok(missing > 0 && missing <= MIB + 7, String(missing));
  const [file] = await repository.fetch(repository.files.slice(1, 2), quiet);
  assert.equal(file!.fetched, missing);
  assert.equal(server.requests.at(-1)!.range, `bytes=${WEIGHTS.length - missing}-${WEIGHTS.length - 1}`);
});

test("the token goes to the endpoint's origin only, each redirect is followed, and an address that got too old is asked for anew", async (context) => {
  const { server } = await setUp(context);
  const seen: (string | undefined)[] = [];
  const cdn = createServer((request, response) => {
    if (seen.push(request.headers.authorization) === 1) response.writeHead(403).end();
    else response.end(request.url === "/signed?secret=1" ? WEIGHTS : "");
  });
  await new Promise<void>((resolve) => cdn.listen(0, "127.0.0.1", resolve));
  context.after(() => cdn.close());
  server.misbehave = (request, response) => {
    if (!request.url!.endsWith("model.safetensors")) return false;
    if (request.url!.startsWith("/moved"))
      response.writeHead(302, { location: `http://127.0.0.1:${(cdn.address() as AddressInfo).port}/signed?secret=1` }).end();
    else response.writeHead(307, { location: "/moved/model.safetensors" }).end();
    return true;
  };
  const hub = hubOf(server, "hf_secret");
  const repository = await hub.resolve(reference, never);
  await repository.fetch(repository.files.slice(1, 2), quiet);
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    Array.from({ length: 5 }, () => "Bearer hf_secret"),
  );
  assert.deepEqual(seen, [undefined, undefined]);
  server.misbehave = (_, response) => (response.writeHead(302, { location: "file:///etc/passwd" }).end(), true);
  await assert.rejects(repository.fetch(repository.files.slice(0, 1), quiet), /UserError: .*neither http nor https.*to=file:/);
});

test("what a mirror's description leaves out is asked of each file, and neither asked nor the token shown where it leads elsewhere", async (context) => {
  const { server } = await setUp(context);
  const hub = hubOf(server, "hf_secret");
  const described = await hub.resolve(reference, never);
  const seen: (string | undefined)[][] = [];
  const cdn = createServer((request, response) => {
    seen.push([request.method, request.headers.authorization]);
    response.end(WEIGHTS);
  });
  await new Promise<void>((resolve) => cdn.listen(0, "127.0.0.1", resolve));
  context.after(() => cdn.close());
  const location = `http://127.0.0.1:${(cdn.address() as AddressInfo).port}/signed`;
  const large = { "x-linked-etag": `"${sha256(WEIGHTS)}"`, "x-linked-size": WEIGHTS.length, etag: '"0"', location };
  server.misbehave = (request, response) => {
    const siblings = described.files.map(({ path }) => ({ rfilename: path }));
    if (request.url!.startsWith("/api/")) response.end(JSON.stringify({ sha: commitOf(described), siblings }));
    if (request.url!.endsWith("model.safetensors")) response.writeHead(302, large).end();
    if (request.url!.endsWith("empty.txt"))
      response.writeHead(200, { etag: 'W/"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"', "content-length": 0 }).end();
    // the same file at another path of the same mirror
    if (request.url!.startsWith("/moved/")) request.url = request.url!.slice("/moved".length);
    else if (request.url!.endsWith("config.json")) response.writeHead(307, { location: `/moved${request.url}` }).end();
    return response.headersSent;
  };
  const mirror = await hub.resolve(reference, never);
  assert.throws(() => mirror.files[0]!.bytes, /doesn't state/);
  const stated = await mirror.stated(mirror.files, never);
  assert.deepEqual(stated, await described.stated(described.files, never));
  assert.equal((await mirror.fetch(stated, quiet))[1]!.sha256, sha256(WEIGHTS));
  assert.deepEqual(seen, [["GET", undefined]]);
  assert.ok(server.requests.every(({ authorization }) => authorization === "Bearer hf_secret"));
});

test("a mirror may lie below a path, and gets the token there", async (context) => {
  const { server } = await setUp(context);
  server.misbehave = (request, response) => {
    if (request.url!.startsWith("/mirror/")) request.url = request.url!.slice("/mirror".length);
    else response.writeHead(404).end();
    return response.headersSent;
  };
  const hub = createHub({ endpoint: `${server.url}/mirror/`, token: "hf_secret", cacheDirectory: join(server.work, "hub") });
  const repository = await hub.resolve(reference, never);
  assert.equal((await repository.fetch(repository.files.slice(1, 2), quiet))[0]!.sha256, sha256(WEIGHTS));
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    ["Bearer hf_secret", "Bearer hf_secret"],
  );
});

test("a password in the hub's address goes to the hub alone, and into no message", async (context) => {
  const { server } = await setUp(context);
  const expected = `Basic ${Buffer.from("alice:s3cr@t").toString("base64")}`;
  const endpoint = server.url.replace("//", "//alice:s3cr%40t@");
  // of a token that Python stored the mirror is told nothing
  const access = { endpoint, token: "hf_secret", cacheDirectory: join(server.work, "hub"), timing: { stallMs: 2000, retryMs: 1 } };
  const notes: string[] = [];
  let trouble = 3;
  server.misbehave = ({ headers }, response) => {
    if (trouble-- > 0) response.writeHead(503).end();
    else if (headers.authorization !== expected) response.writeHead(401).end();
    return response.headersSent;
  };
  const repository = await createHub(access).resolve(reference, never, (note) => void notes.push(note));
  await repository.fetch(repository.files, { ...quiet, onNote: (note) => void notes.push(note) });
  assert.deepEqual([...new Set(server.requests.map(({ authorization }) => authorization))], [expected]);

  const failing = async (answer: number, address = endpoint): Promise<void> => {
    server.misbehave = (_, response) => (response.writeHead(answer).end(), true);
    const cacheDirectory = join(server.work, "none");
    await assert.rejects(createHub({ ...access, endpoint: address, cacheDirectory }).resolve(reference, never), (error: Error) => {
      notes.push(error.message);
      return true;
    });
  };
  for (const answer of [401, 404, 503]) await failing(answer);
  await failing(200, "ftp://alice:s3cr@t@hub");
  assert.match(notes.join("\n"), /the password in HF_ENDPOINT is not valid/);
  assert.doesNotMatch(notes.join("\n"), /alice|s3cr/);
});

test("a wrong byte is fetched once more, then named with both digests and never used", async (context) => {
  const { server, hub } = await setUp(context);
  const bad = Buffer.from(WEIGHTS);
  bad[9]! ^= 1;
  let wrong = 1;
  server.misbehave = (request, response) => {
    if (!request.url!.endsWith("model.safetensors") || wrong-- <= 0) return false;
    response.end(bad);
    return true;
  };
  const repository = await hub.resolve(reference, never);
  const [file] = await repository.fetch(repository.files.slice(1, 2), quiet);
  assert.equal(file!.sha256, sha256(WEIGHTS));

  wrong = 2;
  const other = createHub({ endpoint: server.url, token: null, cacheDirectory: join(server.work, "other") });
  const fresh = await other.resolve(reference, never);
  await assert.rejects(fresh.fetch(fresh.files.slice(1, 2), quiet), (error: Error) => {
    assert.equal(error.name, "UserError");
    for (const part of ["wrong digest", "model.safetensors", sha256(WEIGHTS), sha256(bad)]) assert.ok(error.message.includes(part), part);
    return true;
  });
  assert.equal(await lstat(join(server.work, "other", "models--org--m", "blobs", sha256(WEIGHTS))).catch(() => null), null);
});

test("503 and 429 are tried again after the time that they ask for; a stalled answer too", async (context) => {
  const { server } = await setUp(context);
  const trouble = [503, 429, "stall"];
  server.misbehave = (_, response) => {
    const next = trouble.shift();
    if (next === undefined) return false;
    if (typeof next === "number") response.writeHead(next, { "retry-after": "1" }).end();
    return true;
  };
  const started = performance.now();
  const notes: string[] = [];
  const repository = await hubOf(server, null, { stallMs: 1000, retryMs: 1 }).resolve(reference, never, (note) => void notes.push(note));
  assert.equal(repository.files.length, 3);
  assert.ok(performance.now() - started > 2000);
  assert.match(notes.join("\n"), /answered 503 .*trying again in 1 s\n.*answered 429.*\n.*no byte for 1 s/);
});

test("401, 404 and 416 are final and say what to do", async (context) => {
  const { server, hub } = await setUp(context);
  await assert.rejects(
    hub.resolve({ ...reference, id: "org/absent" }, never),
    /UserError: the hub has no such repository, revision or file.*status=404/,
  );
  await assert.rejects(hub.resolve({ ...reference, revision: "other" }, never), /no such repository, revision/);
  server.misbehave = (_, response) => (response.writeHead(401).end(), true);
  await assert.rejects(hub.resolve(reference, never), /UserError: .*HF_TOKEN/);
  server.misbehave = () => false;
  const repository = await hub.resolve(reference, never);
  server.misbehave = (_, response) => (response.writeHead(416).end(), true);
  await assert.rejects(repository.fetch(repository.files.slice(0, 1), quiet), /fewer bytes/);
  assert.equal(server.requests.length, 5, "none was asked twice");
});

test("a server that sends more than it said, or other bytes than were asked for, is not believed", async (context) => {
  const { server, hub } = await setUp(context);
  const repository = await hub.resolve(reference, never);
  server.misbehave = (_, response) => (response.end(Buffer.concat([WEIGHTS, WEIGHTS])), true);
  await assert.rejects(repository.fetch(repository.files.slice(1, 2), quiet), /more bytes than it said/);
  const whole = { ...repository.files[1]!, bytes: 65 * MIB };
  server.misbehave = (request, response) => {
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!;
    response.writeHead(206, { "content-range": `bytes ${Number(start) + 1}-${end}/${whole.bytes}` }).end();
    return true;
  };
  await assert.rejects(repository.fetch([whole], quiet), /does not serve ranges.*got=206 bytes 1-/);
});

test("a server without ranges is read in one stream, which begins again after a cut or a kill", async (context) => {
  const large = noise(34 * MIB + 1);
  const { server, hub } = await setUp(context, { "models/org/m/model.safetensors": large });
  const repository = await hub.resolve(reference, never);
  let cut = true;
  server.misbehave = (request, response) => {
    if (request.headers.range === undefined && cut) {
      cutAfter(response, 20 * MIB);
      cut = false;
    }
    delete request.headers.range;
    return false;
  };
  const abort = new AbortController();
  const onBytes = (done: number): void => void (done >= 25 * MIB && abort.abort(new Error("killed")));
  const files = repository.files.slice(1, 2);
  await assert.rejects(repository.fetch(files, { ...quiet, signal: abort.signal, onBytes }), /killed/);
  assert.equal(cut, false);
  const notes: string[] = [];
  const [file] = await repository.fetch(files, { ...quiet, onNote: (note) => void notes.push(note) });
  assert.equal(file!.sha256, sha256(large));
  assert.match(notes.join("\n"), /model\.safetensors: the server knows no ranges of bytes/);
  assert.equal(server.requests.at(-1)!.range, undefined);
  const bad = Buffer.from(large);
  bad[30 * MIB]! ^= 1;
  server.misbehave = (_, response) => (response.end(bad), true);
  await writeFile(file!.blob, "damaged");
  await assert.rejects(repository.fetch(files, quiet), /wrong digest, twice/);
});

test("a hub that is not there is unreachable, not the user's mistake", async (context) => {
  const { server } = await setUp(context);
  const hub = createHub({
    endpoint: "http://127.0.0.1:9",
    token: null,
    cacheDirectory: server.work,
    timing: { stallMs: 5000, retryMs: 1 },
  });
  await assert.rejects(hub.resolve(reference, never), (error: Error) => error.name === "UnreachableError");
});

test("an address that is none is the user's mistake", async () => {
  const hub = createHub({ endpoint: "localhost:8080", token: null, cacheDirectory: "/nowhere" });
  await assert.rejects(hub.resolve(reference, never), /UserError: .*correct HF_ENDPOINT/);
  await assert.rejects(checkRoom("/dev/null/x", 1, "HF_HOME"), /UserError: .*set HF_HOME/);
});

test("a token that no header can carry is the user's mistake, and not shown", async (context) => {
  const { server } = await setUp(context);
  await assert.rejects(hubOf(server, "hf_a\r\nx-more: 1").resolve(reference, never), /^UserError: .* correct HF_TOKEN, or the file [^:]*$/);
  assert.equal(server.requests.length, 0);
});

test("too little room is said before a byte is fetched, with need and have", async (context) => {
  const { hub } = await setUp(context);
  const repository = await hub.resolve(reference, never);
  await assert.rejects(repository.checkSpace(1e18), /NoRoomError: .*need=1000000\.0 TB, have=\d/);
  await repository.checkSpace(1);
});

test("two downloads of a file at once fetch it once", async (context) => {
  const { server, hub } = await setUp(context);
  const repository = await hub.resolve(reference, never);
  const both = await Promise.all([
    repository.fetch(repository.files, quiet),
    (await hubOf(server).resolve(reference, never)).fetch(repository.files, quiet),
  ]);
  const fetched = both.flat().reduce((sum, file) => sum + file.fetched, 0);
  assert.equal(fetched, WEIGHTS.length + 2);
});

test("a partial file of another client is left alone", async (context) => {
  const { server, hub } = await setUp(context);
  const blobs = join(server.work, "hub", "models--org--m", "blobs");
  await mkdir(blobs, { recursive: true });
  await writeFile(join(blobs, `${sha256(WEIGHTS)}.incomplete`), "half");
  const repository = await hub.resolve(reference, never);
  await repository.fetch(repository.files, quiet);
  assert.equal(await readFile(join(blobs, `${sha256(WEIGHTS)}.incomplete`), "utf8"), "half");
});
