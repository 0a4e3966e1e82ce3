import { testTraining } from "../against-pytorch.js";
import { REFERENCES } from "../reference.js";

for (const name of REFERENCES.gptj) testTraining("GPT-J", name);
