import { serveRank } from "./serve-rank.js";
import { trainDeps } from "./train-deps.js";

/** Entry of a rank's process of `roslin stage train`. */
serveRank(trainDeps);
