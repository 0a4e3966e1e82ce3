import { conformance } from "../conformance.js";

conformance(
  "onnx",
  { sameBits: "on any number of ranks", numbers: [1, 3, 4], kills: { coordinator: [[2, 3]], another: [[2, 3]] }, ranks: 3, brief: true },
  { method: "lora", lora: { rank: 2, alpha: 8, dropout: 0.25, targets: ["q_proj", "v_proj", "fc_out"] }, learningRate: 1e-2 },
);
