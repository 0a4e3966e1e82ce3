import { conformance } from "../conformance.js";

conformance("toy");
