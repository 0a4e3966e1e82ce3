import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../../../core/errors.js";
import { installedVersions, makeEnvironment, type EnvironmentPlan } from "../../../infra/python/environment.js";
import { makeFakes, type Behaviour } from "./fake-python.js";

const root = mkdtempSync(join(tmpdir(), "roslin-environment-"));
const bin = join(root, "bin");
const directory = join(root, "home", "engines");
let installed: () => string[];
after(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  installed = makeFakes(bin).installed;
});

const HASH = `--hash=sha256:${"0".repeat(64)}`;
const locked = (name: string): EnvironmentPlan["packages"][number] => ({ name, version: "1.0", text: `${name}==1.0 ${HASH}\n` });
const plan: EnvironmentPlan = {
  title: "the engine",
  python: { least: 11, most: 14 },
  directory,
  name: "0123",
  packages: ["alpha", "big", "beta", "source", "huge"].map(locked),
  built: ["source"],
  large: (name) => ["big", "huge"].includes(name),
  buildVariables: { BUILD: "0" },
  bytes: 1e6,
  check: "print(1)",
};
const VERSIONS = { engine: "1.0" };
const ALL = ["alpha beta", "big", "huge", "source built with 0"];

interface Made {
  readonly versions: unknown;
  readonly said: readonly string[];
}

async function make(behaviour: Behaviour = {}, signal = new AbortController().signal, asked = plan): Promise<Made> {
  const said: string[] = [];
  const variables = { PATH: bin, FAKE_CHECK: JSON.stringify(VERSIONS), ...behaviour };
  return { versions: await makeEnvironment(asked, (line) => void said.push(line), { variables, signal }), said };
}

/** Makes the environment, which must fail with a UserError of one line that matches. */
async function refused(message: RegExp, behaviour: Behaviour = {}, asked = plan): Promise<void> {
  await assert.rejects(make(behaviour, undefined, asked), (error: Error) => {
    assert.ok(error instanceof UserError, error.stack);
    assert.match(error.message, message);
    assert.equal(error.message.split("\n").length, 1);
    return true;
  });
  assert.equal(await installedVersions(directory, plan.name), null);
}

test("small packages are installed together, large ones alone, and what is built comes last; a second call does nothing", async () => {
  const first = await make();
  assert.deepEqual(first.versions, VERSIONS);
  assert.deepEqual(installed(), ALL);
  assert.match(first.said.join("\n"), /Python 3\.12\.4[^]*installing 2 small packages \(1 of 4\)[^]*huge 1\.0 \(3 of 4\)[^]*checking/);
  assert.deepEqual(readdirSync(directory), ["0123"]);
  assert.deepEqual(readdirSync(join(directory, "0123")).sort(), ["bin", "versions.json"]);
  rmSync(join(bin, "log"));
  assert.deepEqual(await make(), { versions: VERSIONS, said: [] });
});

test("a set-up that failed goes on after the last whole package, and what another one left half is removed", async () => {
  mkdirSync(join(directory, ".9999-3.12.4"), { recursive: true });
  await refused(/another digest than expected.* \[at=big 1\.0 \(2 of 4\)\]/, {
    FAKE_BROKEN: "big",
    FAKE_STDERR: "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
  });
  assert.deepEqual(installed(), ALL.slice(0, 1));
  const { said } = await make();
  assert.match(said[0]!, /going on after 2 of 5 steps/);
  assert.deepEqual(installed(), ALL);
  assert.deepEqual(readdirSync(directory), ["0123"]);
});

test("Ctrl-C ends pip at once, and the same command goes on from there", async () => {
  const stop = new AbortController();
  const reason = new Error("interrupted");
  const running = make({ FAKE_HANGING: "big" }, stop.signal);
  const outcome = assert.rejects(running, reason);
  while (!installed().includes("hanging")) await sleep(20);
  stop.abort(reason);
  await outcome;
  assert.equal(existsSync(join(directory, "0123")), false);
  assert.deepEqual((await make()).versions, VERSIONS);
  assert.deepEqual(installed(), [ALL[0], "hanging", ...ALL.slice(1)]);
});

test("of two set-ups at once one waits, and finds the other's environment", async () => {
  const [one, other] = await Promise.all([make(), make()]);
  assert.deepEqual([one.versions, other.versions], [VERSIONS, VERSIONS]);
  assert.deepEqual(installed(), ALL);
  assert.match([...one.said, ...other.said].join("\n"), /waiting for process \d+, which sets up the engine/);
});

test("an environment whose Python was removed is made again", async () => {
  await make();
  rmSync(join(directory, "0123", "bin", "python"));
  await make();
  assert.deepEqual(installed(), [...ALL, ...ALL]);
});

test("no Python, and one of another version, are named in one line", async () => {
  await refused(/needs Python 3\.11 to 3\.14 with its module venv, .* \[found=python3 is 3\.9\.2\]/, { FAKE_VERSION: "3.9.2" });
  await refused(/\[found=python3 is 3\.15\.0\]/, { FAKE_VERSION: "3.15.0" });
  await refused(/\[found=python3 is 3\.13\.1 free-threaded\]/, { FAKE_VERSION: "3.13.1 free-threaded" });
  await refused(/\[found=python3 is 3\.12\.4 without the module venv\]/, { FAKE_WITHOUT_VENV: "1" });
  rmSync(join(bin, "python3"));
  await refused(/and no Python is on PATH: install it/);
});

test("a Python with its version in its name is found beside an older python3", async () => {
  makeFakes(bin, ["python3.13"]);
  rmSync(join(bin, "python3"));
  assert.match((await make({ FAKE_VERSION: "3.13.2" })).said[0]!, /Python 3\.13\.2/);
});

test("too small a disk is refused before anything is fetched, need against have", async () => {
  await refused(
    /too little room to set up the engine.*ROSLIN_HOME to a larger disk \[directory=.*, need=1000\.0 TB, have=/,
    {},
    { ...plan, bytes: 1e15 },
  );
  assert.deepEqual(installed(), []);
});

test("no network, a full disk and what pip says else are one line each", async () => {
  const broken = (stderr: string): Behaviour => ({ FAKE_BROKEN: "alpha", FAKE_STDERR: stderr });
  await refused(
    /pip cannot reach its package index/,
    broken("WARNING: Retrying: Temporary failure in name resolution\nERROR: No matching distribution"),
  );
  await refused(/the disk is full: free 1\.0 MB/, broken("ERROR: [Errno 28] No space left on device"));
  await refused(/pip failed: ERROR: what is this\? \[at=2 small packages/, broken("some words\nERROR: what is this?"));
});

test("an environment that does not work here is not taken for one that does", async () => {
  const { FAKE_CHECK: _, ...broken } = { FAKE_CHECK: "" };
  const variables = { PATH: bin, ...broken };
  await assert.rejects(
    makeEnvironment(plan, () => undefined, { variables, signal: new AbortController().signal }),
    /does not work on this machine.*\[got=ImportError: libcudart\.so\.13/,
  );
  assert.equal(await installedVersions(directory, plan.name), null);
  // nothing is installed a second time when it is called again
  await make();
  assert.deepEqual(installed(), ALL);
});
