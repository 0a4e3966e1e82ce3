import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkPublished } from "../../../cli/commands/verify.js";
import { openPublished } from "../../../infra/sources/published.js";
import { publish } from "../../../activities/publish/publish.js";
import type { StageContext, StageRequest } from "../../../activities/common/stage.js";
import { UserError } from "../../../core/errors.js";
import { parseManifest } from "../../../core/format/manifest.js";
import { stored } from "../../../demo/hub/repositories.js";
import type { StageResult } from "../../../core/stages/results.js";
import { evaluateDefinition } from "../../../activities/evaluate/definition.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { leave } from "../common/made-stages.js";
import { startUploadHub, TOKEN, type UploadHub } from "../../infra/hub/upload-hub.js";
import { finishedRun, publishDependencies } from "./run.js";

const root = mkdtempSync(join(tmpdir(), "roslin-publish-hub-"));
const hubs: UploadHub[] = [];
after(async () => {
  for (const hub of hubs) await hub.close();
  rmSync(root, { recursive: true });
});

let runs = 0;
const newRoot = (): string => join(root, `run-${runs++}`);
const notes: string[] = [];
const context = (): StageContext => ({
  signal: new AbortController().signal,
  progress: ({ note }) => void (note !== undefined && notes.push(note)),
});
const newHub = async (options?: Parameters<typeof startUploadHub>[0]): Promise<UploadHub> => {
  const hub = await startUploadHub(options);
  hubs.push(hub);
  return hub;
};
const send = (hub: UploadHub, request: StageRequest): Promise<StageResult<"publish">> =>
  publish(publishDependencies({}, undefined, { hub: hub.access }), request, context());
const asked = (hub: UploadHub, pattern: RegExp): number => hub.requests.filter((request) => pattern.test(request.asked)).length;
const filesAt = (hub: UploadHub, id: string, revision: string): string[] => [...hub.repository(id).at(revision)!.files.keys()].sort();

/** A person's commit of one file on main. */
function byHand(hub: UploadHub, id: string, path: string, text: string): void {
  const repository = hub.repository(id);
  const head = repository.at("main")!;
  repository.add("main", head.oid, "by hand", new Map([...head.files, [path, stored(path, Buffer.from(text), false)]]));
}

const FILES = [
  ".gitattributes",
  "README.md",
  "config.json",
  "evaluation.json",
  "generation_config.json",
  "manifest.json",
  "model.safetensors",
  "onnx/model.onnx",
  "report.html",
];

test("a model that passed its gate is one commit on main of a private repository, with a tag of its name", async () => {
  const hub = await newHub();
  const request = await finishedRun(newRoot(), "hf://me/tuned");
  const result = await send(hub, request);
  const repository = hub.repository("me/tuned");
  assert.ok(repository.isPrivate);
  const name = String(result.metrics["version"]);
  const commit = repository.branches.get("main")!;
  assert.equal(repository.tags.get(name), commit);
  assert.equal(repository.commits.size, 2, "the one that a repository begins with, and this one");
  assert.equal(repository.at("main")!.title, `Publish ${name}`);
  assert.deepEqual(filesAt(hub, "me/tuned", "main"), FILES);
  assert.deepEqual(
    [...repository.at("main")!.files.values()]
      .filter(({ large }) => large)
      .map(({ path }) => path)
      .sort(),
    ["model.safetensors", "onnx/model.onnx"],
  );
  const manifest = parseManifest(repository.at("main")!.files.get("manifest.json")!.content.toString(), "test");
  for (const { name: file, sha256 } of manifest.files) assert.equal(repository.at("main")!.files.get(file)!.sha256, sha256, file);
  assert.equal(result.outputs[0]!.uri, `hf://me/tuned@${commit}`);
  assert.ok(result.outputs.some(({ uri }) => uri === `hf://me/tuned@${commit}/onnx/model.onnx`));
  assert.equal(result.metrics["latest"], true);
  assert.ok(notes.includes("hf://me/tuned is not there yet: it will be made, private"));
  assert.doesNotMatch(JSON.stringify([result, notes]), new RegExp(TOKEN));

  // nothing is done for the same again, not even by a run that knows nothing of the first
  const before = repository.commits.size;
  assert.equal((await send(hub, request)).reused, true);
  const again = await send(hub, { ...request, root: (await finishedRun(newRoot(), "hf://me/tuned")).root });
  assert.equal(again.metrics["version"], name);
  assert.equal(again.metrics["bytesSent"], 0);
  assert.equal(again.outputs[0]!.uri, result.outputs[0]!.uri);
  assert.equal(repository.commits.size, before);

  // what was published is found and verified under all its names
  for (const revision of ["", `@${name}`, `@${commit}`]) {
    const published = await openPublished(`hf://me/tuned${revision}`, { hub: hub.access });
    const links = await checkPublished(published, new AbortController().signal);
    assert.deepEqual(
      links.filter(({ problem }) => problem !== null),
      [],
      revision,
    );
    assert.ok(links.length > 15);
  }
  // a tag that was removed is made again
  repository.tags.delete(name);
  assert.notEqual((await send(hub, request)).reused, true);
  assert.equal(repository.tags.get(name), commit);
  assert.equal(repository.commits.size, before);
});

test("the next model replaces what is live, and a failed one goes to a branch of its name", async () => {
  const hub = await newHub();
  const first = await send(hub, await finishedRun(newRoot(), "hf://our/m", true, { "tokenizer_config.json": Buffer.from("{}") }));
  const repository = hub.repository("our/m");
  assert.ok(filesAt(hub, "our/m", "main").includes("tokenizer_config.json"));
  byHand(hub, "our/m", "LICENSE.md", "a person's");
  const second = await send(hub, await finishedRun(newRoot(), "hf://our/m"));
  assert.deepEqual(
    filesAt(hub, "our/m", "main"),
    [".gitattributes", "LICENSE.md", ...FILES.slice(1)],
    "a file of the former model is gone, a person's stays",
  );
  assert.ok(filesAt(hub, "our/m", String(first.metrics["version"])).includes("tokenizer_config.json"));
  const main = repository.branches.get("main");
  const failed = await send(hub, await finishedRun(newRoot(), "hf://our/m", false, { "merges.txt": Buffer.from("a b") }));
  const branch = String(failed.metrics["version"]);
  assert.equal(repository.branches.get("main"), main);
  assert.equal(failed.metrics["latest"], false);
  assert.ok(filesAt(hub, "our/m", branch).includes("merges.txt"));
  assert.equal(failed.outputs[0]!.uri, `hf://our/m@${repository.branches.get(branch)}`);
  assert.equal(repository.tags.has(branch), false);
  assert.ok(notes.some((note) => note === `the gate was not passed: ${branch} is on a branch of its name, and main stays`));
  // the first model again: main has moved on from it
  const back = await send(hub, await finishedRun(newRoot(), "hf://our/m", true, { "tokenizer_config.json": Buffer.from("{}") }));
  assert.equal(back.metrics["latest"], false);
  assert.equal(repository.branches.get("main"), main);
  assert.equal(back.outputs[0]!.uri, first.outputs[0]!.uri);
  assert.notEqual(second.outputs[0]!.uri, first.outputs[0]!.uri);
});

test("a run that was killed before it could tag its commit, and was overtaken, tags it and leaves main alone", async () => {
  const hub = await newHub();
  const request = await finishedRun(newRoot(), "hf://me/m");
  const first = await send(hub, request);
  await send(hub, await finishedRun(newRoot(), "hf://me/m", true, { "merges.txt": Buffer.from("a b") }));
  const repository = hub.repository("me/m");
  const [main, name] = [repository.branches.get("main"), String(first.metrics["version"])];
  repository.tags.delete(name);
  const again = await send(hub, request);
  assert.deepEqual([again.metrics["latest"], again.outputs[0]!.uri], [false, first.outputs[0]!.uri]);
  assert.equal(`hf://me/m@${repository.tags.get(name)}`, first.outputs[0]!.uri);
  assert.equal(repository.branches.get("main"), main);
});

test("what is missing of a model that main has moved on from comes to its tag, and main stays", async () => {
  const hub = await newHub();
  const request = await finishedRun(newRoot(), "hf://me/m");
  const name = String((await send(hub, request)).metrics["version"]);
  await send(hub, await finishedRun(newRoot(), "hf://me/m", true, { "merges.txt": Buffer.from("a b") }));
  const repository = hub.repository("me/m");
  const main = repository.branches.get("main");
  const { oid, files } = repository.at(name)!;
  repository.tags.set(name, repository.add("by-hand", oid, "by hand", new Map([...files].filter(([path]) => path !== "report.html"))));
  repository.branches.delete("by-hand");
  const again = await send(hub, request);
  assert.equal(again.metrics["latest"], false);
  assert.deepEqual([...repository.branches], [["main", main]]);
  assert.ok(repository.at(name)!.files.has("report.html"));
  assert.equal(again.outputs[0]!.uri, `hf://me/m@${repository.tags.get(name)}`);
});

test("a model whose branch is there, because its gate was not passed before, gets a tag in its place", async () => {
  const [hub, other] = [await newHub(), await newHub()];
  const request = await finishedRun(newRoot(), "hf://me/m");
  const name = String((await send(other, request)).metrics["version"]);
  await send(hub, await finishedRun(newRoot(), "hf://me/m", true, { "merges.txt": Buffer.from("a b") }));
  const repository = hub.repository("me/m");
  repository.branches.set(name, repository.branches.get("main")!);
  await send(hub, request);
  assert.deepEqual([...repository.branches.keys()], ["main"]);
  assert.equal(repository.tags.get(name), repository.branches.get("main"));
});

test("a person's override puts a model on main and tags it in place of its branch, and it stays so", async () => {
  const hub = await newHub();
  const request = await finishedRun(newRoot(), "hf://me/m", false);
  const failed = await send(hub, request);
  const name = String(failed.metrics["version"]);
  const repository = hub.repository("me/m");
  assert.ok(repository.branches.has(name));
  const override = { by: "Ada", reason: "the rows were wrong" };
  const overridden = await send(hub, { ...request, override });
  assert.equal(overridden.metrics["version"], name);
  assert.deepEqual([overridden.metrics["latest"], overridden.metrics["reason"]], [true, null]);
  assert.deepEqual([...repository.branches.keys()], ["main"]);
  assert.equal(repository.tags.get(name), repository.branches.get("main"));
  assert.match(repository.at("main")!.files.get("README.md")!.content.toString(), /Ada/);
  // another run of the same model, which nobody told
  const commits = repository.commits.size;
  const again = await send(hub, await finishedRun(newRoot(), "hf://me/m", false));
  assert.deepEqual([again.metrics["latest"], again.outputs[0]!.uri], [true, overridden.outputs[0]!.uri]);
  assert.equal(repository.commits.size, commits);
});

test("a model that was compared with the live one is refused when main has another one", async () => {
  const hub = await newHub();
  await send(hub, await finishedRun(newRoot(), "hf://me/m"));
  const { sha256: live } = await openPublished("hf://me/m", { hub: hub.access });
  const compared = async (manifest: string): Promise<StageRequest> => {
    const place = newRoot();
    const request = await finishedRun(place, "hf://me/m", true, { "merges.txt": Buffer.from("a b") });
    const report = join(place, "evaluation.json");
    const evaluation = { ...(JSON.parse(readFileSync(report, "utf8")) as object), live: { uri: "hf://me/m@0", manifest } };
    writeFileSync(report, JSON.stringify(evaluation));
    const changed = await artifactOf("report", report);
    const inputs = request.inputs.map((input) => (input.name === "report" ? changed : input));
    await leave(evaluateDefinition, { ...request, inputs }, { outputs: [changed] });
    return { ...request, inputs };
  };
  await assert.rejects(
    send(hub, await compared("0".repeat(64))),
    /main holds another model than the one .* run `roslin stage evaluate` again/,
  );
  assert.equal((await send(hub, await compared(live))).metrics["latest"], true);
});

test("killed after its large files and before its commit, it goes on without sending a byte again; files come in parts where the hub wants it", async () => {
  const hub = await newHub({ partBytes: 40_000 });
  const request = await finishedRun(newRoot(), "hf://me/killed");
  const child = fileURLToPath(new URL("hub-child.js", import.meta.url));
  let kill: () => unknown = () => undefined;
  hub.misbehave = ({ method, url }) => {
    if (method !== "POST" || !url!.includes("/commit/")) return false;
    kill();
    return true;
  };
  const publishing = spawn(process.execPath, ["--no-warnings", child, JSON.stringify({ request, access: hub.access })], {
    stdio: "inherit",
  });
  kill = () => publishing.kill("SIGKILL");
  assert.deepEqual(await once(publishing, "exit"), [null, "SIGKILL"]);
  hub.misbehave = () => false;
  const before = [...hub.put.values()].reduce((sum, bytes) => sum + bytes, 0);
  assert.ok(hub.put.size > 4, "parts");
  const result = await send(hub, request);
  assert.equal(
    [...hub.put.values()].reduce((sum, bytes) => sum + bytes, 0),
    before,
  );
  const large = [...hub.repository("me/killed").at("main")!.files.values()].filter((file) => file.large);
  assert.equal(
    before,
    large.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  assert.equal(
    result.metrics["bytesSent"],
    Number(result.metrics["bytes"]) - before + hub.repository("me/killed").at("main")!.files.get("manifest.json")!.bytes,
  );
  assert.equal(hub.repository("me/killed").commits.size, 2);
});

test("a commit whose answer was lost is found, and none is made after it", async () => {
  const hub = await newHub();
  const answers: number[] = [];
  hub.misbehave = ({ method, url }, response) => {
    if (method !== "POST" || !url!.includes("/commit/") || answers.length > 0) return false;
    answers.push(1);
    response.writeHead = () => response.destroy();
    return false;
  };
  const result = await send(hub, await finishedRun(newRoot(), "hf://me/lost"));
  assert.equal(hub.repository("me/lost").commits.size, 2);
  assert.equal(asked(hub, /^POST .*\/commit\//), 2, "the second try was refused");
  assert.equal(hub.repository("me/lost").tags.get(String(result.metrics["version"])), hub.repository("me/lost").branches.get("main"));
});

test("two runs at once: both are commits of main, or one if they publish the same", async () => {
  const hub = await newHub();
  const [one, other, same] = await Promise.all([
    finishedRun(newRoot(), "hf://me/race"),
    finishedRun(newRoot(), "hf://me/race", true, { "merges.txt": Buffer.from("a b") }),
    finishedRun(newRoot(), "hf://me/race", true, {}, { failures: 0, interruptions: [] }),
  ]);
  const results = await Promise.all([one, other, same].map((request) => send(hub, request)));
  const repository = hub.repository("me/race");
  assert.equal(repository.commits.size, 3);
  assert.equal(repository.tags.size, 2);
  assert.equal(results[0]!.outputs[0]!.uri, results[2]!.outputs[0]!.uri, "the first run's card stays");
  assert.ok(results.some(({ metrics }) => metrics["latest"] === true));
});

test("what is in the way is named before anything is sent", async () => {
  const hub = await newHub();
  const problem = async (target: string, token: string | null, extra: Readonly<Record<string, unknown>> = {}): Promise<string> => {
    const request = await finishedRun(newRoot(), target);
    const config = { ...request.config, publish: { ...request.config.publish, ...extra } };
    const dependencies = publishDependencies({}, undefined, { hub: { ...hub.access, token } });
    const error: unknown = await publish(dependencies, { ...request, config }, context()).then(
      () => null,
      (failure: unknown) => failure,
    );
    assert.ok(error instanceof UserError, String(error));
    return error.message;
  };
  assert.match(await problem("hf://me/m", null), /^publishing to the hub needs a token: set HF_TOKEN to one that may write/);
  assert.match(await problem("hf://me/m", "hf_wrong"), /^the hub does not accept the token: set HF_TOKEN .*Invalid user token/);
  assert.match(await problem("hf://me/m", "hf_reader"), /^the token of HF_TOKEN may only read: set HF_TOKEN/);
  assert.match(await problem("hf://they/m", TOKEN), /belongs to me, who is not a member of they: publish to hf:\/\/me\//);
  assert.match(
    await problem("hf://me/m", TOKEN, { storageClass: "STANDARD_IA" }),
    /^the hub has no publish\.storageClass: remove the setting/,
  );
  assert.equal(asked(hub, /^(PUT|POST)/), 0);

  await send(hub, await finishedRun(newRoot(), "hf://me/m"));
  const repository = hub.repository("me/m");
  const file = "pytorch_model.bin";
  repository.add("main", repository.branches.get("main")!, "by hand", new Map([[file, stored(file, Buffer.from("a person's"), true)]]));
  assert.match(
    await problem("hf://me/m", TOKEN),
    /holds files that Roslin did not publish: name a repository that is empty.*file=pytorch_model\.bin\]$/,
  );
});

test("a hub that is busy is waited for as long as it asks, and what it refuses for good is said in a line", async () => {
  const hub = await newHub();
  let limited = 0;
  hub.misbehave = ({ method, url }, response) => {
    if (method !== "POST" || !url!.includes("/preupload/") || limited++ > 0) return false;
    response.writeHead(429, { ratelimit: '"api";r=0;t=1' }).end();
    return true;
  };
  const started = performance.now();
  await send(hub, await finishedRun(newRoot(), "hf://me/busy"));
  assert.ok(performance.now() - started >= 1000);
  assert.ok(notes.some((note) => /answered 429 to .*; trying again in 1 s$/.test(note)));

  const refusedAt = async (path: string, status: number, error: string): Promise<string> => {
    hub.misbehave = ({ url, method }, response) => {
      if (method === "GET" || !url!.includes(path)) return false;
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error }));
      return true;
    };
    const failure: unknown = await send(hub, await finishedRun(newRoot(), `hf://me/refused-${status}`)).catch(
      (failure: unknown) => failure,
    );
    assert.ok(failure instanceof UserError, String(failure));
    assert.ok(
      !failure.message.includes("\n") && !failure.message.includes(TOKEN) && !failure.message.includes("signature"),
      failure.message,
    );
    return failure.message;
  };
  assert.match(
    await refusedAt("/repos/create", 400, "Invalid name"),
    /^the hub refuses this \[repository=me\/refused-400, .*reason=Invalid name\]$/,
  );
  assert.match(await refusedAt("/commit/", 413, `too large for ${TOKEN}`), /^a file is larger than the hub.*reason=too large for …\]$/);
  assert.match(
    await refusedAt("/objects/batch", 403, "Private repository storage limit reached"),
    /^the account has no room left on the hub/,
  );
});

test("a hub that is at work on another repository of the account is asked again, and one that makes a public one is sent nothing", async () => {
  const hub = await newHub();
  let busy = 0;
  hub.misbehave = ({ url }, response) => {
    if (!url!.includes("/repos/create") || busy++ > 0) return false;
    response.writeHead(409).end('{"error":"Cannot create repo: another conflicting operation is in progress"}');
    return true;
  };
  await send(hub, await finishedRun(newRoot(), "hf://me/busy"));
  assert.equal(asked(hub, /repos\/create$/), 2);

  hub.misbehave = ({ method, url }, response) => {
    if (method !== "GET" || url !== "/api/models/me/public") return false;
    response.end('{"private":false}');
    return true;
  };
  const puts = hub.put.size;
  await assert.rejects(send(hub, await finishedRun(newRoot(), "hf://me/public")), /has made the repository public, and nothing was sent/);
  assert.equal(hub.put.size, puts);
  assert.equal(hub.repository("me/public").commits.size, 1);
});

test("an address of the hub's store that has expired is asked for again", async () => {
  const hub = await newHub();
  let expired = 0;
  hub.misbehave = ({ method }, response) => {
    if (method !== "PUT" || expired++ > 0) return false;
    response.writeHead(403).end("<Error>Request has expired</Error>");
    return true;
  };
  await send(hub, await finishedRun(newRoot(), "hf://me/expired"));
  assert.equal(asked(hub, /objects\/batch$/), 2);
  assert.deepEqual(filesAt(hub, "me/expired", "main"), FILES);
});

test("a hub that answers with Xet alone is refused", async () => {
  const hub = await newHub();
  hub.misbehave = ({ url }, response) => {
    if (!url!.endsWith("/objects/batch")) return false;
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ transfer: "xet", objects: [] }));
    return true;
  };
  await assert.rejects(send(hub, await finishedRun(newRoot(), "hf://me/xet")), /takes large files by Xet alone/);
});
