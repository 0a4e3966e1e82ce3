import type { TrainAttempt } from "../../../../activities/train/log/entries.js";
import { attemptBelow } from "../../../../activities/train/rank/rank-place.js";
import { runRank } from "../../../../activities/train/rank/rank.js";
import { places } from "../../../engines/places.js";

/** A rank on a machine whose stages work below a directory of its own; its parent sends the work, and "stop". */
interface Work {
  readonly attempt: TrainAttempt;
  readonly worker: number;
  readonly root: string;
}

const { onnx } = places.engines;
const version = process.env["ONNX_VERSION"];
/** As on a machine that was set up at another time. */
const other = {
  ...onnx,
  libraries: async (...about: Parameters<typeof onnx.libraries>) => ({ ...(await onnx.libraries(...about)), onnxruntime: version! }),
};
const deps = version === undefined ? places : { ...places, engines: { ...places.engines, onnx: other } };

const stop = new AbortController();
process.on("message", (message: Work | "stop") => {
  if (message === "stop") return stop.abort(new Error("the worker was asked to stop"));
  const { attempt, worker, root } = message;
  const context = { signal: stop.signal, progress: () => process.send!("moved") };
  runRank(deps, { attempt: attemptBelow(root, attempt), worker }, context)
    .then(
      ({ status }) => process.send!({ status }),
      (error: Error) => process.send!({ status: error.name, message: error.message }),
    )
    .finally(() => process.disconnect());
});
