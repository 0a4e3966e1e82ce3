import type { StageContext, StageRequest } from "../../activities/common/stage.js";
import { runRank } from "../../activities/train/rank/rank.js";
import { beginTraining } from "../../activities/train/run/begin.js";
import { places } from "./places.js";

/** `node zombie-child.js REQUEST`: an attempt's only rank, in a process that nobody watches over; prints how it ended. */
const request = JSON.parse(process.argv[2]!) as StageRequest;
const context: StageContext = { signal: new AbortController().signal, progress: () => undefined };
const begun = await beginTraining(places, request, { workers: 1 }, context);
if ("finished" in begun) throw new Error("there is nothing to train");
const how = await runRank(places, { attempt: begun.attempt, worker: 0 }, context).then(
  ({ status }) => status,
  (error: Error) => error.name,
);
console.log(how);
