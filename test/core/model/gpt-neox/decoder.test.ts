import { test } from "node:test";
import { testDecoder, testGreedy } from "../against-pytorch.js";
import { reference, REFERENCES } from "../reference.js";

for (const name of REFERENCES.gptNeox) {
  test(`the decoder gives PyTorch's logits for a padded batch, on either side: ${name}`, () => testDecoder(reference(name)));
  test(`the decoder's greedy continuation through its cache is PyTorch's: ${name}`, () => testGreedy(reference(name)));
}
