import { readSource } from "../../core/config/source-ref.js";

/** What is publicly known of base models and datasets: where they come from, under which licence, and what follows from it. */

/** A model or a dataset, or several that are alike. */
export interface Known {
  /** what its name on the hub, owner/name, matches */
  readonly names: RegExp;
  /** by the hub's name */
  readonly licence: string;
  /** of a licence that has no name on the hub */
  readonly other?: { readonly name: string; readonly link: string };
  /** ISO 639-1 */
  readonly languages?: readonly string[];
  /** where it comes from, in a sentence or two */
  readonly origin: string;
  /** what its licence asks for, in a sentence or two; absent: nothing beyond a notice */
  readonly consequence?: string;
}

/** The hub's name for a licence that nobody stated. */
export const UNKNOWN = "unknown";
/** The licence of Stanford Alpaca. */
export const RESEARCH_ONLY = "cc-by-nc-4.0";

const PILE =
  "the Pile, 825 GiB of mostly English text from 22 sources, among them web pages, papers, books, code and forums. It holds profanity, prejudice and personal data, and nothing newer than 2020";
const UNDISCLOSED = "What it was trained on is not disclosed.";

/** The first one that matches counts. */
const MODELS: readonly Known[] = [
  {
    names: /alpaca|^databricks\/dolly-v1/i,
    licence: RESEARCH_ONLY,
    languages: ["en"],
    origin: "A model that was itself tuned on Stanford Alpaca.",
  },
  {
    names: /^databricks\/dolly-v2/i,
    licence: "mit",
    languages: ["en"],
    origin: `A Pythia model that Databricks tuned on databricks-dolly-15k in 2023. Pythia was trained on ${PILE}.`,
  },
  {
    names: /^EleutherAI\/gpt-j/i,
    licence: "apache-2.0",
    languages: ["en"],
    origin: `GPT-J 6B, which EleutherAI trained in 2021 on ${PILE}.`,
  },
  {
    names: /^EleutherAI\/pythia/i,
    licence: "apache-2.0",
    languages: ["en"],
    origin: `Pythia, which EleutherAI trained in 2023 on ${PILE}.`,
  },
  {
    names: /^EleutherAI\/gpt-neox/i,
    licence: "apache-2.0",
    languages: ["en"],
    origin: `GPT-NeoX, which EleutherAI trained in 2022 on ${PILE}.`,
  },
  {
    names: /^HuggingFaceTB\/SmolLM2/i,
    licence: "apache-2.0",
    languages: ["en"],
    origin:
      "SmolLM2, which Hugging Face trained in 2024 on filtered web pages (FineWeb-Edu, DCLM), code (The Stack) and mathematics. Its Instruct models were then tuned on answers that other models wrote.",
  },
  {
    names: /^HuggingFaceTB\/SmolLM/i,
    licence: "apache-2.0",
    languages: ["en"],
    origin:
      "SmolLM, which Hugging Face trained on filtered web pages (FineWeb-Edu), on textbooks and stories that a model wrote (Cosmopedia), and on code.",
  },
  {
    names: /^TinyLlama\//i,
    licence: "apache-2.0",
    languages: ["en"],
    origin: "TinyLlama, which was trained in 2023 on SlimPajama's web pages, books and papers, and on StarCoder's code.",
  },
  ...(
    [
      [/^meta-llama\/Llama-2/i, "llama2", "Llama 2"],
      [/^meta-llama\/(Meta-)?Llama-3\.1/i, "llama3.1", "Llama 3.1"],
      [/^meta-llama\/Llama-3\.2/i, "llama3.2", "Llama 3.2"],
      [/^meta-llama\/Llama-3\.3/i, "llama3.3", "Llama 3.3"],
      [/^meta-llama\/Meta-Llama-3/i, "llama3", "Llama 3"],
    ] as const
  ).map(([names, licence, name]): Known => ({
    names,
    licence,
    origin: `${name} by Meta. ${UNDISCLOSED}`,
    consequence: `Meta's community licence of ${name} applies to models that are tuned from it: it forbids some uses, and asks for a notice and, since Llama 3, for a name that begins with Llama.`,
  })),
  {
    names: /^mistralai\/(Mistral-7B|Mistral-Nemo)/i,
    licence: "apache-2.0",
    origin: `A model by Mistral AI. ${UNDISCLOSED}`,
  },
  {
    names: /^Qwen\/Qwen2\.5-(Coder-)?3B/i,
    licence: "other",
    other: { name: "qwen-research", link: "https://huggingface.co/Qwen/Qwen2.5-3B/blob/main/LICENSE" },
    origin: `Qwen 2.5 by Alibaba. ${UNDISCLOSED}`,
    consequence: "Qwen's research licence applies to models that are tuned from it: for research only, not for commercial use.",
  },
  {
    names: /^Qwen\/Qwen2\.5-(Math-)?72B/i,
    licence: "other",
    other: { name: "qwen", link: "https://huggingface.co/Qwen/Qwen2.5-72B/blob/main/LICENSE" },
    origin: `Qwen 2.5 by Alibaba. ${UNDISCLOSED}`,
    consequence: "Qwen's own licence applies to models that are tuned from it.",
  },
  {
    names: /^Qwen\/Qwen2-(Math-)?72B/i,
    licence: "other",
    other: { name: "tongyi-qianwen", link: "https://huggingface.co/Qwen/Qwen2-72B/blob/main/LICENSE" },
    origin: `Qwen 2 by Alibaba. ${UNDISCLOSED}`,
    consequence: "The licence Tongyi Qianwen applies to models that are tuned from it.",
  },
  { names: /^Qwen\/Qwen(2|2\.5|3)-(Coder-|Math-)?[\d.]+B/i, licence: "apache-2.0", origin: `A Qwen model by Alibaba. ${UNDISCLOSED}` },
];

/** Of Alpaca a local file's name tells as well. */
const ALPACA: Known = {
  names: /alpaca/i,
  licence: RESEARCH_ONLY,
  languages: ["en"],
  origin:
    "Stanford Alpaca of 2023, or rows that derive from it: OpenAI's text-davinci-003 wrote 52,002 instructions and their answers by Self-Instruct. Nobody checked each answer: some are wrong, and they have that model's prejudices.",
  consequence:
    "The rows are licensed under CC BY-NC 4.0. OpenAI's terms of use also forbid to develop models with its output that compete with OpenAI.",
};

const DATASETS: readonly Known[] = [
  ALPACA,
  {
    names: /dolly-15k/i,
    licence: "cc-by-sa-3.0",
    languages: ["en"],
    origin:
      "databricks-dolly-15k: some 15,000 requests and answers that employees of Databricks wrote in March and April 2023, some of them about passages of Wikipedia.",
    consequence:
      "The rows are licensed under CC BY-SA 3.0: commercial use is allowed, the source has to be named, and what is adapted from them has to be shared alike.",
  },
  {
    names: /^HuggingFaceH4\/no_robots/i,
    licence: RESEARCH_ONLY,
    languages: ["en"],
    origin: "No Robots: 10,000 requests and answers that people wrote for Hugging Face.",
    consequence: "The rows are licensed under CC BY-NC 4.0: for research only, not for commercial use.",
  },
  {
    names: /^OpenAssistant\/oasst/i,
    licence: "apache-2.0",
    origin: "OpenAssistant Conversations, which volunteers wrote and rated in 2022 and 2023.",
  },
  {
    names: /^HuggingFaceTB\/(smoltalk|everyday)/i,
    licence: "apache-2.0",
    languages: ["en"],
    origin: "Conversations that other models wrote, collected by Hugging Face.",
  },
];

/** What is known of a model by its name on the hub; null: nothing. */
export function knownModel(id: string | null): Known | null {
  return MODELS.find(({ names }) => id !== null && names.test(id)) ?? null;
}

/** What is known of the rows that a source names; null: nothing. */
export function knownDataset(source: string): Known | null {
  if (ALPACA.names.test(source)) return ALPACA;
  const read = readSource(source);
  return "id" in read ? (DATASETS.find(({ names }) => names.test(read.id)) ?? null) : null;
}

/** How much a licence binds; of two that both apply the one that binds more is stated. */
function binding(licence: string): number {
  if (/(^|-)nc(-|$)/.test(licence)) return 4;
  if (licence === UNKNOWN) return 3;
  if (/^(llama|gemma|other$)/.test(licence)) return 2;
  return /(^|-)sa(-|$)|gpl/.test(licence) ? 1 : 0;
}

/** The licence of what is tuned from a base on data: the one that binds more, and unknown rather than one that allows more. */
export function licenceOf(base: string, data: string): string {
  return binding(base) > binding(data) ? base : data;
}
