import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { CHECKOUT } from "../workers/environment.js";

/** Runs all test files but those that need DeepSpeed, as `node --test` does: several at once, each in a process of its own. */

const FOLDER = join(CHECKOUT, "dist", "test");

/** Test files at the same time: of these one or two mostly wait, and the others keep two cores busy. */
const AT_ONCE = 4;
/** Milliseconds that a file may take: several times what it takes on two cores. */
const FILE_MS = 900_000;

/** The files that take longest, which begin first. Those that mostly wait stand between those that mostly compute. */
const FIRST = [
  ...["workers/frozen", "workflows/attempts", "workers/pause", "engines/onnx/conformance"],
  ...["workflows/hosts", "workflows/gang", "workers/kill", "workflows/activity-pause", "workers/chaos"],
  ...["workflows/finetune", "workers/fewer", "workflows/pause", "activities/publish/s3"],
  ...["workers/uploads", "engines/toy/conformance", "workers/zombie", "infra/store/hostile"],
  ...["workers/context", "workers/local", "infra/http/final-answers", "infra/store/server-kinds"],
  ...["activities/train/rank/machines", "workers/endings", "cli/commands/demo", "workers/poison", "workers/secrets"],
].map((name) => `${name}.test.js`);

const names = readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.js") && !/^(chaos|deepspeed)\//.test(name))
  .sort();
const missing = FIRST.filter((name) => !names.includes(name));
if (missing.length > 0) throw new Error(`test/run.ts names files that are not there: ${missing.join(", ")}`);

const files = [...FIRST, ...names.filter((name) => !FIRST.includes(name))].map((name) => join(FOLDER, name));
const results = run({ files, concurrency: AT_ONCE, timeout: FILE_MS });
results.on("test:fail", () => void (process.exitCode = 1));
results.compose(new spec()).pipe(process.stdout);
