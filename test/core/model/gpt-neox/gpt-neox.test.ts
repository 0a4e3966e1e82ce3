import { testTraining } from "../against-pytorch.js";
import { REFERENCES } from "../reference.js";

for (const name of REFERENCES.gptNeox) testTraining("GPT-NeoX", name);
