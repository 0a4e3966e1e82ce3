import type { TrainDeps } from "../../activities/train/deps.js";
import { trainDeps } from "../../workers/train-deps.js";
import { toyEngine } from "./toy/engine.js";

/** Training's places, with the toy engine among the engines. */
export const places: TrainDeps = { ...trainDeps, engines: { ...trainDeps.engines, ...{ toy: toyEngine } } };
