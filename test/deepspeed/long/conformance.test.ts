import { conformance } from "../../engines/conformance.js";

/** All of it, on four ranks, with more kills. */
conformance("deepspeed", {
  sameBits: "on the same number of ranks",
  numbers: [2, 3, 4],
  kills: {
    coordinator: [
      [0, 4],
      [2, 2],
      [4, 4],
    ],
    another: [
      [2, 2],
      [3, 4],
    ],
  },
  ranks: 4,
});
