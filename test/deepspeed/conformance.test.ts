import { conformance } from "../engines/conformance.js";

/** A rank takes seconds to start, and the bits depend on the number of ranks; test/deepspeed/long has the rest. */
conformance("deepspeed", {
  sameBits: "on the same number of ranks",
  numbers: [2, 4],
  kills: { coordinator: [[2, 2]], another: [[3, 4]] },
  ranks: 2,
  brief: true,
});
