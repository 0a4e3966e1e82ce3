import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { download } from "../../../activities/download/download.js";
import { outputNamed, type StageResult } from "../../../core/stages/results.js";
import { listFiles } from "../../../infra/disk/files.js";
import { openStore } from "../../../infra/store/open-store.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { dependenciesFor, requestFor } from "./dependencies.js";

const work = mkdtempSync(join(tmpdir(), "roslin-bucket-dataset-"));
const MODEL = pathToFileURL(join(import.meta.dirname, "../../../../test/reference/gptj-tiny")).href;
let server: Awaited<ReturnType<typeof startTestS3>>;
before(async () => {
  server = await startTestS3();
});
after(async () => {
  await server.stop();
  rmSync(work, { recursive: true });
});

let count = 0;
async function put(files: Readonly<Record<string, string>>): Promise<string> {
  const prefix = `s3://roslin/rows-${count++}`;
  const store = openStore(prefix, server.settings);
  for (const [name, text] of Object.entries(files)) await store.write(name, Buffer.from(text));
  return prefix;
}

async function downloaded(dataset: object): Promise<StageResult<"download">> {
  const request = requestFor({ model: { source: MODEL }, dataset }, work);
  return await download(dependenciesFor("http://127.0.0.1:9", work, server.settings), request, {
    signal: new AbortController().signal,
    progress: () => undefined,
  });
}

async function filesOf(result: StageResult<"download">): Promise<string[]> {
  return await listFiles(fileURLToPath(outputNamed(result.outputs, "dataset").uri));
}

test("a bucket's card is asked for configurations, and its order is kept", async () => {
  const card = "---\nconfigs:\n- config_name: de\n  data_files: de/*\n- config_name: en\n  data_files: [en/b.jsonl, en/a.jsonl]\n---\n";
  const source = await put({ "README.md": card, "de/a.jsonl": "1", "en/a.jsonl": "2", "en/b.jsonl": "3" });
  await assert.rejects(downloaded({ source }), { name: "UserError", message: /several configurations.*configurations=de, en/ });
  const english = await downloaded({ source: `${source}/?config=en` });
  assert.deepEqual(await filesOf(english), ["000000/en/b.jsonl", "000001/en/a.jsonl"]);
  assert.equal(english.metrics["datasetChoice"], "configuration en of de, en");
  assert.deepEqual(await filesOf(await downloaded({ source, config: "de" })), ["de/a.jsonl"]);
  assert.equal(outputNamed(english.outputs, "dataset").origin!.uri, source);
});

test("of a Delta table in a bucket the files of its current rows are taken, and other tables are refused", async () => {
  const log = (version: number): string => `t/_delta_log/${String(version).padStart(20, "0")}.json`;
  const table = {
    [log(0)]: '{"metaData":{"partitionColumns":[]}}\n{"add":{"path":"a.jsonl"}}\n'.replaceAll("jsonl", "parquet"),
    [log(1)]: '{"remove":{"path":"a.parquet"}}\n{"add":{"path":"b.parquet"}}\n',
    "t/a.parquet": "old",
    "t/b.parquet": "new",
  };
  const result = await downloaded({ source: await put(table) });
  assert.deepEqual(await filesOf(result), ["t/b.parquet"]);
  assert.equal(result.metrics["datasetChoice"], "1 of 2 files, by the log of a Delta table");
  await assert.rejects(downloaded({ source: await put({ ".hoodie/hoodie.properties": "x", "a.parquet": "1" }) }), /Hudi table/);
  await assert.rejects(
    downloaded({ source: await put({ "t/metadata/v1.metadata.json": "{}", "t/data/a.parquet": "1" }) }),
    /Iceberg table/,
  );
});

test("an object whose key ends like a choice is named with one more ?, and a pointer of Git LFS is named", async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 2336927\n`;
  const source = await put({ "x?split=a/rows.json": "[1]", "rows.parquet": pointer });
  const result = await downloaded({ source: `${source}/x?split=a?` });
  assert.equal(await readFile(join(fileURLToPath(outputNamed(result.outputs, "dataset").uri), "rows.json"), "utf8"), "[1]");
  await assert.rejects(downloaded({ source: `${source}/rows.parquet` }), {
    name: "UserError",
    message: /Git LFS pointer.*file=rows\.parquet of s3:.*realFile=2336927/,
  });
});
