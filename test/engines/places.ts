import type { TrainDeps } from "../../activities/train/deps.js";
import { trainDeps } from "../../workers/train-deps.js";
import { testDeepSpeed } from "./deepspeed/engine.js";
import { toyEngine } from "./toy/engine.js";

/** The toy engine under the names that tests go from and to: they compute the same bits. */
const toys = Object.fromEntries(["toy", "toy2", "toy3"].map((name) => [name, { ...toyEngine, name }]));

/** Training's places, with the toy engines among the engines, and DeepSpeed with steps that may be deadly. */
export const places: TrainDeps = { ...trainDeps, engines: { ...trainDeps.engines, deepspeed: testDeepSpeed, ...toys } };
