import { duration } from "../../core/units.js";
import { computedWords } from "../../core/stages/words.js";
import { isProved, proofLine, timeLine } from "../train/log/ledger-words.js";
import { chosenSource } from "../../core/config/source-ref.js";
import { evaluationSection } from "./card-evaluation.js";
import { scoredTask } from "./eval-results.js";
import { frontMatter } from "./front-matter.js";
import { limits } from "./limits.js";
import { knownDataset, knownModel, type Known } from "./provenance.js";
import { consequenceOf, facts, sourceName, type Story } from "./story.js";
import type { Sample } from "../evaluate/samples.js";

/** README.md of a published model: where it comes from, how to use it, how it was trained, and what it may be used for. */
export function modelCard(story: Story): string {
  const { title, config, evaluation } = story;
  const samples = evaluation.samples.length === 0 ? "No answers were generated." : evaluation.samples.map(sampleText).join("\n");
  return `${frontMatter(story)}
# ${title}

${whatItIs(story)}, fine-tuned on instructions by Roslin in one run that resumes from checkpoints.
Base: \`${sourceName(config.model.source)}\`. Data: \`${sourceName(chosenSource(config.dataset))}\`.

## Licence

${consequences(story)}

## Base and data

${origins(story)}

## Use

${use(story)}${isAlone(story) ? "" : EXPORT_NOTE}

## Training

| | |
|---|---|
${facts(story)
  // these have a table of their own
  .filter(([name]) => scoredTask(evaluation, name) === null)
  .map(([name, value]) => `| ${name} | ${value.replaceAll("|", "\\|").replace(/\s+/g, " ")} |`)
  .join("\n")}

Every loss is in \`report.html\`.

## Evaluation

${evaluationSection(story)}

${run(story)}## Answers to held-out rows

${samples}

## Limits

${limits(story)}

## Where it comes from

\`manifest.json\` has the digest of every file, and the chain of digests from the raw rows and the base weights to these
files. \`roslin verify\` checks it.

${proof(story)}
`;
}

const EXPORT_NOTE = ` \`onnx/model.onnx\` is the same model in fp32 with a key-value cache, under the names
that transformers.js expects; it needs ONNX Runtime.`;

/** What follows from the licences that are known. */
function consequences({ config, descent }: Story): string {
  const known = [knownModel(descent.baseModel)?.consequence, knownDataset(config.dataset.source)?.consequence];
  return [consequenceOf(descent.licence), ...known.filter((each) => each !== undefined)].join("\n\n");
}

/** What is publicly known of base and data, and that nothing is. */
function origins({ config, descent }: Story): string {
  const row = (what: string, name: string, known: Known | null): string =>
    `| ${what} | ${name.replaceAll("|", "\\|")} | ${known?.origin ?? "Nothing is known to Roslin of where it comes from."} | ${known?.other?.name ?? known?.licence ?? "unknown"} |`;
  const { source } = config.model;
  const began = descent.baseModel;
  const base = sourceName(source);
  return [
    "| | | where it comes from | licence |",
    "|---|---|---|---|",
    row("base model", began === null || base.includes(began) ? base : `${base}, which began with ${began}`, knownModel(began)),
    row("data", sourceName(config.dataset.source), knownDataset(config.dataset.source)),
  ].join("\n");
}

/** Whether an adapter is published without its base. */
function isAlone({ adapter }: Story): boolean {
  return adapter?.merged === false;
}

function whatItIs({ family, adapter }: Story): string {
  if (adapter === undefined) return `A ${family.name} model`;
  return adapter.merged
    ? `A ${family.name} model with low-rank adapters (LoRA) merged into it`
    : `A low-rank adapter (LoRA) of a ${family.name} model`;
}

/** Python that loads the model. */
function loading({ adapter, prompt }: Story): readonly [imports: string, model: string] {
  if (adapter?.merged !== false)
    return ["from transformers import AutoModelForCausalLM, AutoTokenizer", 'model = AutoModelForCausalLM.from_pretrained("DIRECTORY")'];
  const base = adapter.base ?? "BASE";
  return [
    `from peft import PeftModel\nfrom transformers import AutoModelForCausalLM${prompt === null ? "" : ", AutoTokenizer"}`,
    `base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(base)})\nmodel = PeftModel.from_pretrained(base, "DIRECTORY")`,
  ];
}

/** How to ask the model: the text that it was tuned on, and where an answer ends. */
function use(story: Story): string {
  const { config, prompt } = story;
  const [imports, model] = loading(story);
  if (prompt === null) {
    const tokens = "The model was tuned on rows of tokens, and has no tokenizer.";
    return isAlone(story) ? `${tokens}\n\n\`\`\`python\n${imports}\n\n${model}\n\`\`\`` : tokens;
  }
  const isChat = config.preprocess.prompt === "chat";
  const ask = isChat
    ? `messages = [{"role": "user", "content": "INSTRUCTION"}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)`
    : `prompt = ${JSON.stringify(prompt.request)}
ids = tokenizer(prompt, return_tensors="pt")`;
  const ends = prompt.stop === "" ? "The answer ends with the EOS token." : `The answer ends before \`${prompt.stop}\`.`;
  return `\`\`\`python
${imports}

tokenizer = AutoTokenizer.from_pretrained("DIRECTORY")
${model}
${ask}
print(tokenizer.decode(model.generate(**ids, max_new_tokens=128)[0]))
\`\`\`

${ends}${inputNote(config.preprocess.prompt)}`;
}

function inputNote(prompt: Story["config"]["preprocess"]["prompt"]): string {
  if (prompt === "chat") return "";
  if (typeof prompt !== "string") return ` The text was made by this Jinja template:\n\n\`\`\`jinja\n${prompt.template}\n\`\`\`\n\n`;
  return ` If a request has an input, the first sentence ends with
"…that describes a task, paired with an input that provides further context. Write a response …", and a section
\`### Input:\` precedes the response.`;
}

/** What happened during the run: with the report the only part of the published files that differs between runs of the same settings. */
function run({ ledger }: Story): string {
  if (ledger === null) return "";
  const text = `Time of training: ${timeLine(ledger)}.\n\nFrom training's own records: ${proofLine(ledger)}.`;
  const rows = ledger.interruptions.map(
    ({ afterStep, what, seconds, stepsLost }) => `| ${afterStep} | ${what} | ${duration(seconds)} | ${stepsLost} |`,
  );
  const head = "| steps kept | what happened | time until steps went on | steps done again |\n|---|---|---|---|";
  const table = rows.length === 0 ? "" : `\n\n${head}\n${rows.join("\n")}`;
  return `## What happened during the run\n\n${text}${table}\n\n`;
}

function sampleText({ kind, row, system, instruction, input, prompt, expected, base, tuned, drawn }: Sample): string {
  const quote = (said: string | readonly number[]): string => {
    const text = typeof said === "string" ? said : said.join(" ");
    return text.trim() === "" ? "> (nothing)" : text.trim().replace(/^/gm, "> ");
  };
  const request = instruction === undefined ? prompt : [system, instruction, input].filter((part) => part !== undefined).join("\n\n");
  const title = kind === "own" ? "Own prompt" : kind === "dolly" ? "Dolly's example" : `Row ${row}`;
  const wanted = expected === undefined ? "" : `Expected:\n\n${quote(expected)}\n\n`;
  const sampled = drawn === undefined ? "" : `\nBefore, drawn:\n\n${quote(drawn.base)}\n\nAfter, drawn:\n\n${quote(drawn.tuned)}\n`;
  return `**${title}**\n\n${quote(request)}\n\n${wanted}Before:\n\n${quote(base)}\n\nAfter:\n\n${quote(tuned)}\n${sampled}`;
}

function proof({ stateDigest, fingerprint, digests, ledger, computed }: Story): string {
  const rows: [string, string][] = Object.entries(digests).map(([name, digest]) => [name, `\`${digest}\``]);
  if (stateDigest !== null) rows.push(["weights and optimizer state", `\`${stateDigest}\``]);
  for (const [name, value] of Object.entries(fingerprint ?? {})) rows.push([name, String(value)]);
  const promise =
    computed !== undefined
      ? `Training was begun with one engine or version and finished with another (${computedWords(computed)}), so no claim is made that another run gives the same bytes.`
      : fingerprint === null
        ? "Training ran on more than one kind of machine, so no claim is made that another run gives the same bytes."
        : ledger !== null && !isProved(ledger.proof)
          ? "Work that was done twice gave different results, so no claim is made that another run gives the same bytes."
          : "A run with the same inputs and settings on this kind of machine gives the same bytes, however often it is interrupted and on however many workers.";
  return `| | |\n|---|---|\n${rows.map(([name, value]) => `| ${name} | ${value} |`).join("\n")}\n\n${promise}`;
}
