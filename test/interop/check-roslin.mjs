// Roslin's side of check.py: node check-roslin.mjs DIRECTORY TOKENS, a prompt's token ids on standard input. Writes
// {logProbabilities: [[position, log p of its token], …], tokens: [the greedy answer's]}.
import { readFileSync } from "node:fs";
import { openInference } from "../../dist/engines/onnx/inference/open-inference.js";

const [directory, most] = process.argv.slice(2);
const ids = JSON.parse(readFileSync(0, "utf8"));
const model = await openInference(directory, new AbortController().signal);
const logProbabilities = [];
// each asks for a pass of its own
for (let at = 1; at < ids.length; at += Math.ceil(ids.length / 16)) {
  const inputIds = Int32Array.from(ids.slice(0, at + 1));
  const labels = inputIds.map((id, position) => (position === at ? id : -100));
  const { nll } = await model.score([{ source: 0, inputIds, labels }]);
  logProbabilities.push([at, -nll]);
}
const tokens = [];
for await (const { token } of model.generate([ids])) {
  tokens.push(token);
  if (tokens.length === Number(most)) break;
}
await model.close();
console.log(JSON.stringify({ logProbabilities, tokens }));
