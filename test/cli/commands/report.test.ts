import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { publish } from "../../../activities/publish/publish.js";
import { compare } from "../../../cli/commands/compare.js";
import { report } from "../../../cli/commands/report.js";
import type { Comparison } from "../../../activities/report/compare/compared.js";
import { UserError } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/results.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { finishedRun, publishDependencies } from "../../activities/publish/run.js";
import { startUploadHub, TOKEN } from "../../infra/hub/upload-hub.js";
import { parseMarkup } from "../../activities/report/parse-markup.js";

const root = mkdtempSync(join(tmpdir(), "roslin-report-"));
after(() => rmSync(root, { recursive: true }));
const environment = readEnvironment({ ROSLIN_HOME: join(root, "home") }, CHECKOUT);

async function published(): Promise<{ readonly stages: string; readonly uri: string }> {
  const place = mkdtempSync(join(root, "run-"));
  const request = await finishedRun(place, pathToFileURL(join(place, "target")).href);
  const result = await publish(publishDependencies(), request, { signal: new AbortController().signal, progress: () => undefined });
  return { stages: request.root, uri: outputNamed(result.outputs, "published").uri };
}

/** What a command prints on standard output. */
async function printed(work: () => Promise<number>): Promise<string> {
  const log = mock.method(console, "log", () => undefined);
  try {
    assert.equal(await work(), 0);
    return log.mock.calls.map((call) => String(call.arguments[0 as never])).join("\n");
  } finally {
    log.mock.restore();
  }
}

test("report writes the same page each time, of the stages in a directory", async () => {
  const { stages } = await published();
  const [one, other] = [join(root, "one.html"), join(root, "other.html")];
  assert.equal(await printed(() => report.run([stages, "--out", one], environment)), pathToFileURL(one).href);
  await printed(() => report.run([stages, "--out", other], environment));
  assert.equal(readFileSync(one, "utf8"), readFileSync(other, "utf8"));
  parseMarkup(readFileSync(one, "utf8"));
});

test("compare takes directories and addresses of published models", async () => {
  const { stages, uri } = await published();
  const html = join(root, "compare.html");
  const said = await printed(() => compare.run([stages, uri, "--json", "--html", html], environment));
  const { settings, runs } = JSON.parse(said) as Comparison;
  assert.deepEqual(
    runs.map(({ name }) => name),
    [stages, fileURLToPath(uri).split("/").at(-1)],
  );
  // a manifest names a local source by its digest, and says nothing of settings that change no bytes
  assert.deepEqual(settings, []);
  parseMarkup(readFileSync(html, "utf8"));
});

test("compare takes a model that was published on the hub", async () => {
  const hub = await startUploadHub();
  try {
    const request = await finishedRun(mkdtempSync(join(root, "run-")), "hf://me/m");
    const context = { signal: new AbortController().signal, progress: () => undefined };
    const { metrics } = await publish(publishDependencies({}, undefined, { hub: hub.access }), request, context);
    const reaching = readEnvironment({ ROSLIN_HOME: join(root, "home"), HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN }, CHECKOUT);
    const said = await printed(() => compare.run([request.root, "hf://me/m", "--json"], reaching));
    const { settings, runs } = JSON.parse(said) as Comparison;
    assert.deepEqual([settings, runs[1]!.name], [[], metrics["version"]]);
  } finally {
    await hub.close();
  }
});

test("what is no run is said to be none", async () => {
  await assert.rejects(
    report.run([root], environment),
    (error) => error instanceof UserError && /no stage has begun here/.test(error.message),
  );
  await assert.rejects(report.run(["no-such-run"], environment), /no Temporal server runs here/);
  await assert.rejects(report.run([], environment), /name one run/);
  await assert.rejects(compare.run([root], environment), /name two runs or more/);
});
