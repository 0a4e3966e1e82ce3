// transformers.js' greedy answer, as a list of token ids: node check.mjs MODULES MODEL PROMPT TOKENS (see check.py).
import { createRequire } from "node:module";
import { dirname, basename, join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, model, prompt, tokens] = process.argv.slice(2);
const entry = createRequire(join(modules, "package.json")).resolve("@huggingface/transformers");
const { AutoModelForCausalLM, AutoTokenizer, env } = await import(pathToFileURL(entry));
env.allowRemoteModels = false;
env.localModelPath = dirname(model);
const tokenizer = await AutoTokenizer.from_pretrained(basename(model));
const generator = await AutoModelForCausalLM.from_pretrained(basename(model), { dtype: "fp32" });
const inputs = tokenizer(prompt);
const output = await generator.generate({ ...inputs, max_new_tokens: Number(tokens), do_sample: false });
console.log(JSON.stringify(output.tolist()[0].slice(inputs.input_ids.dims[1]).map(Number)));
