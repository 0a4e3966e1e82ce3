import { conformance } from "../conformance.js";

conformance("onnx");
