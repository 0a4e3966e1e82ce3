import { elements } from "../../../core/graph/tensor.js";
import { allParameters } from "../../../core/model/family.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";

/** `node torch-memory-child.js DIR`: reads every weight of a model and tells the sum of its values, their number, and this process' largest resident memory. */
const SLICE = 1 << 20;
const out = new Float32Array(SLICE);
const files = new ModelFiles(process.argv[2]!);
let sum = 0;
let values = 0;
for (const { name, shape } of allParameters(files.model.parameters)) {
  const count = elements(shape);
  for (let first = 0; first < count; first += SLICE) {
    const part = out.subarray(0, Math.min(SLICE, count - first));
    files.readFloats(name, first, part);
    // of what is nearly all zeros, a look at the ends is enough
    sum += part[0]! + part.at(-1)!;
  }
  values += count;
}
files.close();
process.stdout.write(JSON.stringify({ sum, values, peak: process.resourceUsage().maxRSS * 1024 }));
