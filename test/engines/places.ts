import type { TrainDeps } from "../../activities/train/deps.js";
import { trainDeps } from "../../workers/train-deps.js";
import { testDeepSpeed } from "./deepspeed/engine.js";
import { toyEngine } from "./toy/engine.js";

/** Training's places, with the toy engine among the engines, and DeepSpeed with steps that may be deadly. */
export const places: TrainDeps = { ...trainDeps, engines: { ...trainDeps.engines, deepspeed: testDeepSpeed, ...{ toy: toyEngine } } };
