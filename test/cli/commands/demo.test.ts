import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import type { UpState } from "../../../cli/machine/up-state.js";
import { isAlive } from "../../../infra/servers/service.js";

const root = mkdtempSync(join(tmpdir(), "roslin-demo-"));
const home = join(root, "home");
const state = join(home, "demo", "up.json");
after(() => rmSync(root, { recursive: true }));
mkdirSync(home);
symlinkSync(readEnvironment(process.env, CHECKOUT).tools, join(home, "tools"));

const proxy = "http://127.0.0.1:9";
// a user's settings for other servers: the demo must not go near them
const variables = {
  ...process.env,
  ...{ HTTP_PROXY: proxy, HTTPS_PROXY: proxy, http_proxy: proxy, https_proxy: proxy, NO_PROXY: "company.test" },
  ROSLIN_HOME: home,
  ROSLIN_S3: "external",
  ROSLIN_BUCKET: "another",
  AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9",
  AWS_ACCESS_KEY_ID: "wrong",
  AWS_PROFILE: "none",
  HF_ENDPOINT: "http://127.0.0.1:9",
  HF_TOKEN: "secret",
  HUGGINGFACE_HUB_CACHE: "/nowhere",
  TRANSFORMERS_OFFLINE: "1",
  TEMPORAL_ADDRESS: "127.0.0.1:9",
  TEMPORAL_PROFILE: "none",
};
const main = JSON.stringify(join(import.meta.dirname, "../../../cli/main.js"));
const model = join(CHECKOUT, "test", "reference", "gptj-tiny");

/** Rows of tokens that follow a rule, for a model without a tokenizer. */
function dataset(): string {
  const rows = Array.from({ length: 120 }, (_, row) => {
    const input_ids = Array.from({ length: 12 + (row % 7) }, (_, at) => (row * 31 + at * 3) % 300);
    return { input_ids, labels: input_ids.map((id, at) => (at < 3 ? -100 : id)) };
  });
  const file = join(root, "rows.json");
  writeFileSync(file, JSON.stringify(rows));
  return file;
}

/** What the demo says of its processes; null when it has removed that, which it does at any moment. */
function stateNow(): UpState | null {
  try {
    return JSON.parse(readFileSync(state, "utf8")) as UpState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Starts the demo; `when` sees its output grow and may interrupt it. */
async function runDemo(when?: (text: string, interrupt: () => void) => void): Promise<{ code: number; text: string; state: UpState }> {
  const script = ["--input-type=module", "-e", `process.exit(await (await import(${main})).main(process.argv.slice(1)))`, "--"];
  const child = spawn(process.execPath, ["--enable-source-maps", ...script, "demo", "--dataset", dataset(), "--model", model], {
    env: variables,
  });
  let text = "";
  let last: UpState | undefined;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      last = stateNow() ?? last;
      when?.(text, () => child.kill("SIGINT"));
    });
  const [code] = (await once(child, "close")) as [number];
  return { code, text, state: last! };
}

test("an interrupted demo stops everything, and the next one goes on with it to the end and leaves nothing running", async () => {
  let interrupted = false;
  const first = await runDemo((text, interrupt) => {
    if (interrupted || !/Watch the run at/.test(text)) return;
    interrupted = true;
    interrupt();
  });
  assert.equal(first.code, 1, first.text);
  assert.match(first.text, /interrupted: what is done is kept/);
  assert.deepEqual(first.state.processes.filter(isAlive), []);
  assert.equal(first.state.processes.length, 13);

  const second = await runDemo();
  assert.equal(second.code, 0, second.text);
  assert.match(second.text, /going on with the demo that was interrupted/);
  assert.match(second.text, /Done in /);
  for (const line of [
    /^ {2}train +\d/m,
    /^Loss +[\d.]+ at the first step, [\d.]+ at step \d+/m,
    /^Perplexity +[\d.,]+ before, [\d.,]+ after, on 12 rows/m,
  ])
    assert.match(second.text, line);
  assert.match(second.text, /s3:\/\/roslin\/models.*latest\.json/);
  assert.match(second.text, /\/model\.safetensors$/m);
  assert.match(second.text, /^Web UI +http:\/\/127\.0\.0\.1:\d+\/namespaces\/default\/workflows\/demo-/m);
  assert.deepEqual(second.state.processes.filter(isAlive), []);
  assert.equal(existsSync(state), false);
});
