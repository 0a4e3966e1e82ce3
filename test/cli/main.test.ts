import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { defaultTarget } from "../../workers/artifact-deps.js";
import { hostFile, readEnvironment } from "../../workers/environment.js";

const root = mkdtempSync(join(tmpdir(), "roslin-cli-"));
after(() => rmSync(root, { recursive: true }));
const main = JSON.stringify(join(import.meta.dirname, "../../cli/main.js"));
const script = ["--input-type=module", "-e", `process.exit(await (await import(${main})).main(process.argv.slice(1)))`, "--"];
// a machine with GPUs answers as one without
const env = { ...process.env, ROSLIN_HOME: join(root, "home"), CUDA_VISIBLE_DEVICES: "" };

function roslin(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...script, ...args], { env, encoding: "utf8" });
  return { code: status, out: stdout, err: stderr };
}

test("help lists every command, and a command explains itself", () => {
  const help = roslin("help");
  assert.equal(help.code, 0);
  for (const name of ["up", "down", "demo", "stage", "status", "doctor"]) assert.match(help.out, new RegExp(`^  ${name} `, "m"));
  assert.match(roslin("stage", "--help").out, /usage: roslin stage .*--config FILE --dir DIR/);
  assert.equal(roslin("help", "stage").out, roslin("stage", "--help").out);
  assert.match(roslin("--version").out, /^roslin \d+\.\d+\.\d+$/m);
});

test("a user error has exit code 2 and its message on standard error", () => {
  let files = 0;
  const config = (text: string): string => {
    const file = join(root, `config-${files++}.json`);
    writeFileSync(file, text);
    return file;
  };
  const ask = (...options: string[]): string[] => ["generate", "model", "--prompt", "Why?", ...options];
  const cases: [string[], RegExp][] = [
    [["stagee"], /did you mean stage\?/],
    [["hlep"], /did you mean help\?/],
    [["logs"], /did you mean status\?/],
    [["help", "stop"], /did you mean down\?/],
    [["start", "--folow"], /Unknown option '--folow'; did you mean --follow\?\nusage: roslin start/],
    [ask("--temperature", "-1"), /--temperature is not one that can be used \[expected=0, or a number from .*, got=-1\]/],
    [ask("--top-p", "-.5"), /--top-p is not one that can be used \[expected=a number above 0, and at most 1, got=-\.5\]/],
    [ask("--seed", "-1"), /--seed is not one that can be used \[expected=a whole number from 0 on, got=-1\]/],
    [ask("--max-tokens", "-1"), /--max-tokens must be a whole number from 1 on \[got=-1\]/],
    [["watch"], /name one id: roslin list shows the ids \[got=none\]/],
    [["up", "--workers", "65"], /no run can use more workers than shards, 64 at most \[got=65\]/],
    [
      ["stage", "trian", "--config", "c", "--dir", "d"],
      /name one stage \[expected=download preprocess train evaluate publish, got=trian\]/,
    ],
    [["schedule", "create", "weekly", "--every", "7d"], /a schedule needs --config FILE/],
    [["stage", "train", "--config", "c"], /--config FILE and --dir DIR/],
    [["stage", "train", "--what"], /Unknown option '--what'[^]*usage: roslin stage/],
    [["stage", "train", "--config", "c", "--dir", ""], /--config FILE and --dir DIR/],
    [
      ["stage", "download", "--config", config("{}"), "--dir", config("a file")],
      /a file stands where a directory is needed.*\[directory=.*ENOTDIR/,
    ],
    [["stage", "train", "--config", join(root, "none.json"), "--dir", root], /cannot be read[^]*none\.json/],
    [["stage", "train", "--config", config("{"), "--dir", root], /cannot be read/],
    [
      ["stage", "download", "--config", config('{"train": {"lr": 1, "epochs": 0}}'), "--dir", root],
      /2 problems:[^]*train\.epochs[^]*unknown field train\.lr/,
    ],
    [["stage", "train", "--config", config("\uFEFF{}"), "--dir", root], /run `roslin stage download` first/],
    [["stage", "train", "--config", config("{}"), "--dir", root, "--workers", "0"], /--workers must be a whole number/],
    [["start"], /^roslin: no Temporal server runs here/],
    [["up", "--workers", "none"], /--workers must be a whole number/],
    [["up", "--gpus"], /no GPUs to start workers on: leave out --gpus/],
    [["stage", "publish", "--gpus", "--config", "c", "--dir", "d"], /--gpus goes with train.*\[got=publish\]/],
    [["setup", "--cuda"], /--cuda goes with --deepspeed/],
    [["demo", "--dataset", join(root, "none.json")], /--dataset names a path that does not exist/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = roslin(...args);
    assert.match(err, message, args.join(" "));
    assert.equal(code, 2, args.join(" "));
    assert.equal(out, "");
  }
});

test("status and down say that nothing runs, with exit code 0", () => {
  assert.match(roslin("status").out, /nothing runs/);
  assert.equal((JSON.parse(roslin("status", "--json").out) as { running: boolean }).running, false);
  const { code, out } = roslin("down");
  assert.equal(code, 0);
  assert.match(out, /nothing runs here/);
});

test("doctor names each requirement, and what to do where one is not met", () => {
  const { code, out } = roslin("doctor", "--json");
  const findings = JSON.parse(out) as { name: string; found: string; remedy?: string }[];
  for (const name of ["Node", "memory", "Python and pip", "temporal", "weed", "disk", "roslin up"])
    assert.ok(
      findings.some((finding) => finding.name === name),
      name,
    );
  assert.equal(code, findings.some(({ remedy }) => remedy !== undefined) ? 2 : 0);
});

test("an interrupted stage says how to go on and has exit code 1", async () => {
  const server = (await import("node:http")).createServer(() => {}).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  writeFileSync(join(root, "hub.json"), '{"model": {"source": "hf://a/b@main"}, "dataset": {"source": "hf://a/b@main"}}');
  const args = [...script, "stage", "download", "--config", join(root, "hub.json"), "--dir", join(root, "stages"), "--json"];
  const child = spawn(process.execPath, args, { env: { ...env, HF_ENDPOINT: `http://127.0.0.1:${port}`, HF_HOME: join(root, "hf") } });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  await once(server, "request");
  child.kill("SIGINT");
  const [code] = (await once(child, "close")) as [number];
  server.closeAllConnections();
  server.close();
  assert.match(said, /interrupted: what is done is kept; the same command goes on from there/);
  assert.equal(code, 1);
});

test("the environment is read as Python's hub client and AWS's and Temporal's tools read it", () => {
  const plain = readEnvironment({ HF_HOME: join(root, "none") }, "/checkout");
  assert.equal(plain.home, "/checkout/.roslin");
  assert.deepEqual(plain.hub, {
    endpoint: "https://huggingface.co",
    token: null,
    cacheDirectory: join(root, "none", "hub"),
    offline: false,
    proxy: { https: null, http: null, except: "" },
  });
  const proxied = { HTTPS_PROXY: "http://a:1", https_proxy: "http://b:2", ALL_PROXY: "http://c:3", NO_PROXY: "d,e" };
  assert.deepEqual(readEnvironment(proxied, root).hub.proxy, { https: "http://b:2", http: "http://c:3", except: "d,e" });
  assert.equal(plain.externalTemporal, false);
  const set = readEnvironment(
    { ROSLIN_HOME: "/elsewhere", ROSLIN_S3: "external", HF_ENDPOINT: "http://hub/", HF_TOKEN: "t\n", TEMPORAL_ADDRESS: "a:1" },
    "/checkout",
  );
  assert.deepEqual(
    [set.home, set.s3, set.hub.endpoint, set.hub.token, set.externalTemporal],
    ["/elsewhere", "external", "http://hub", "t", true],
  );
  assert.throws(() => readEnvironment({ ROSLIN_S3: "yes" }, "/checkout"), /ROSLIN_S3 must be local or external/);
});

test("paths of the hub's cache may begin with ~ and name variables, old names count, tokens lose line ends, and offline is what Python takes for it", () => {
  const hubOf = (variables: Record<string, string>) => readEnvironment({ HOME: root, ...variables }, "/checkout").hub;
  const caches: [Record<string, string>, string][] = [
    [{}, join(root, ".cache", "huggingface", "hub")],
    [{ HF_HOME: "~/hf" }, join(root, "hf", "hub")],
    [{ HF_HOME: "$HOME/${USED}$UNSET", USED: "x" }, join(root, "x$UNSET", "hub")],
    [{ HF_HOME: "~other" }, join(process.cwd(), "~other", "hub")],
    [{ XDG_CACHE_HOME: "$HOME/c" }, join(root, "c", "huggingface", "hub")],
    [{ HF_HOME: "/hf", HUGGINGFACE_HUB_CACHE: "~/old" }, join(root, "old")],
    [{ HF_HUB_CACHE: "~/new", HUGGINGFACE_HUB_CACHE: "/old" }, join(root, "new")],
  ];
  for (const [variables, cache] of caches) assert.equal(hubOf(variables).cacheDirectory, cache);
  writeFileSync(join(root, "token"), "hf_\nstored\n");
  const tokens: [Record<string, string>, string | null][] = [
    [{ HUGGING_FACE_HUB_TOKEN: "old" }, "old"],
    [{ HF_TOKEN: "new", HUGGING_FACE_HUB_TOKEN: "old" }, "new"],
    [{ HF_TOKEN: " a\r\nb " }, "ab"],
    [{ HF_TOKEN: " \n" }, null],
    [{ HF_TOKEN: " ", HF_TOKEN_PATH: "~/token" }, "hf_stored"],
  ];
  for (const [variables, token] of tokens) assert.equal(hubOf(variables).token, token);
  // a command that asks no hub does not read it
  const unreadable = hubOf({ HF_TOKEN_PATH: root });
  assert.throws(() => unreadable.token, { name: "UserError", message: /HF_TOKEN_PATH/ });
  const offline = [{ HF_HUB_OFFLINE: "1" }, { HF_HUB_OFFLINE: "true" }, { TRANSFORMERS_OFFLINE: "Yes" }].map((variables) =>
    hubOf(variables),
  );
  const online = [{ HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "1" }, { HF_HUB_OFFLINE: "y" }].map((variables) => hubOf(variables));
  assert.deepEqual(
    [...offline, ...online].map((hub) => hub.offline),
    [true, true, true, false, false],
  );
});

test("a run that names no target goes to our own bucket, and to somebody's only where it is named", () => {
  const targetOf = (variables: Record<string, string>): string => defaultTarget(readEnvironment(variables, "/checkout"));
  assert.equal(targetOf({}), "s3://roslin/models");
  assert.equal(targetOf({ ROSLIN_S3: "external", ROSLIN_BUCKET: "ours" }), "s3://ours/models");
  assert.throws(() => targetOf({ ROSLIN_S3: "external" }), { name: "UserError", message: /ROSLIN_BUCKET/ });
});

test("a home's host stays what it was at the first up, unless it is named", () => {
  const home = mkdtempSync(join(root, "host-"));
  const hostOf = (variables: Record<string, string>): string => readEnvironment({ ROSLIN_HOME: home, ...variables }, "/checkout").host;
  assert.equal(hostOf({}), hostname());
  writeFileSync(hostFile(home), "before");
  assert.equal(hostOf({}), "before");
  assert.equal(hostOf({ ROSLIN_HOST: "named" }), "named");
});

test("a machine's address is a name or an IP address alone", () => {
  const addressOf = (address: string): string | null => readEnvironment({ ROSLIN_ADDRESS: address }, "/checkout").address;
  for (const address of ["10.0.0.7", "fd00::7", "gpu-1", "gpu-1.gpus.roslin.svc"]) assert.equal(addressOf(address), address);
  assert.equal(addressOf(""), null);
  for (const address of ["10.0.0.7:29500", "http://gpu-1", "gpu 1"])
    assert.throws(() => addressOf(address), { name: "UserError", message: /ROSLIN_ADDRESS must be a host name or an IP address/ });
});

test("a directory that runs publish to stands for the model that its latest.json names", () => {
  const target = join(root, "published");
  mkdirSync(target);
  writeFileSync(join(target, "latest.json"), "{}");
  assert.match(roslin("generate", target, "--prompt", "?").err, /latest\.json/);
});
