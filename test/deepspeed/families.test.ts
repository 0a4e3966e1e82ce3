import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { outputNamed } from "../../core/stages/results.js";
import { trainLocally } from "../../workers/local-training.js";
import { assertClose, assertSameTensors, readTensors, reference, REFERENCE } from "../core/model/reference.js";
import { places } from "../engines/places.js";
import { job } from "../workers/tiny.js";

/** Every weight of other families by DeepSpeed, against PyTorch's figures. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");

// one whose head is its embedding, and one whose head has another name in transformers than in its files
for (const name of ["llama-grouped", "gpt-neox-serial"])
  test(`20 steps on two ranks give PyTorch's losses and weights: ${name}`, async (t) => {
    const { rows, train, expected } = reference(name);
    const made = await job(t, rows, { ...train, engine: "deepspeed" }, name);
    const { metrics, outputs } = await trainLocally(places, made.request, 2, made.context(), RANK);
    assertClose(metrics.losses!, expected.training_losses, 1e-5);
    const weights = readTensors(join(fileURLToPath(outputNamed(outputs, "tuned").uri), "model.safetensors"));
    assertSameTensors(weights, readTensors(join(REFERENCE, name, "expected-after-20-steps.safetensors")), 1e-4);
  });
