import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { withTargets } from "./readers.js";
import { tried } from "./run.js";

/**
 * `npm run fuzz [-- --minutes 10 --seed N --only NAME]`: changed inputs for every reader of files, until the time is over.
 * Prints each failure with its target and seed; one that is corrected goes into kept.ts, which the tests try for ever.
 */

const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" }, only: { type: "string" } } });
const seconds = Number(values.minutes ?? 10) * 60;
const first = Number(values.seed ?? randomInt(2 ** 31));
/** [index of the target, seed], so that another thread can name them when this one hangs */
const now = new Int32Array(new SharedArrayBuffer(8));
const watch = `
  const { workerData: now } = require("node:worker_threads");
  let before = -1;
  setInterval(() => {
    if (now[1] === before) {
      require("node:fs").writeSync(2, "hangs for six minutes: target " + now[0] + ", seed " + now[1] + "\\n");
      process.kill(process.pid, "SIGKILL");
    }
    before = now[1];
  }, 360000);`; // the thread that reads Arrow and Parquet ends itself after five
new Worker(watch, { eval: true, workerData: now }).unref();

const failures = await withTargets(async (all) => {
  const chosen = all.filter(({ name }) => values.only === undefined || name === values.only);
  console.log(`fuzzing ${chosen.map(({ name }) => name).join(", ")} for ${seconds} s from seed ${first}`);
  const found = new Map<string, string>();
  for (const target of chosen) {
    const end = Date.now() + (seconds * 1000) / chosen.length;
    let seed = first;
    for (; Date.now() < end; seed++) {
      now.set([all.indexOf(target), seed]);
      const wrong = await tried(target, seed);
      if (wrong === null) continue;
      // one of each kind is enough: by the place that threw
      const kind = `${target.name}: ${wrong.split("\n").slice(0, 2).join(" ").replaceAll(/\d+/g, "N")}`;
      if (found.has(kind)) continue;
      found.set(kind, wrong);
      console.log(`FAILED ${target.name}, seed ${seed}: ${wrong.split("\n").slice(0, 4).join("\n  ")}`);
    }
    console.log(`${target.name}: ${seed - first} inputs`);
  }
  return found.size;
});
console.log(failures === 0 ? "nothing but our own errors" : `${failures} kinds of failures`);
process.exit(failures === 0 ? 0 : 1);
