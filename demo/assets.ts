import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256, sha256File, writeFileAtomic } from "../infra/disk/files.js";
import { demoRows } from "./dataset.js";
import { DEMO_MODEL, demoWeights } from "./model.js";
import { gpt2Tokenizer, TOKENIZER_CONFIG } from "./tokenizer.js";

/** Raise it when the files change; a test pins their digests. */
const VERSION = 1;

const MODEL = `roslin/demo-${DEMO_MODEL.family.type}`;
const DATASET = "roslin/demo-questions";

/** The demo's sources on its own hub. */
export const DEMO_SOURCES = { model: `hf://${MODEL}@main`, dataset: `hf://${DATASET}@main` } as const;

const json = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`;

const FILES: Readonly<Record<string, () => string | Buffer>> = {
  [`models/${MODEL}/config.json`]: () => json(DEMO_MODEL.configJson),
  [`models/${MODEL}/generation_config.json`]: () =>
    json({ bos_token_id: DEMO_MODEL.shape.bosTokenId, eos_token_id: DEMO_MODEL.shape.eosTokenIds[0] }),
  [`models/${MODEL}/tokenizer.json`]: () => JSON.stringify(gpt2Tokenizer()),
  [`models/${MODEL}/tokenizer_config.json`]: () => json(TOKENIZER_CONFIG),
  [`models/${MODEL}/model.safetensors`]: demoWeights,
  [`datasets/${DATASET}/questions.json`]: () => json(demoRows()),
  [`datasets/${DATASET}/README.md`]: () =>
    "---\nlicense: apache-2.0\n---\nSimple questions and their answers in Alpaca's format, written for Roslin's demo.\n",
};

/**
 * Makes the files that the demo's hub serves, about 55 MB, below `root`. Files with the right digest stay. Resolves to each
 * path's sha256.
 */
export async function makeDemoAssets(root: string): Promise<Readonly<Record<string, string>>> {
  const stamp = join(root, "stamp.json");
  const known = await readStamp(stamp);
  const digests: Record<string, string> = {};
  for (const [path, make] of Object.entries(FILES)) {
    const target = join(root, path);
    const expected = known[path];
    if (expected !== undefined && (await sha256File(target).catch(() => null)) === expected) {
      digests[path] = expected;
      continue;
    }
    const bytes = make();
    await writeFileAtomic(target, bytes);
    digests[path] = sha256(bytes);
  }
  await writeFileAtomic(stamp, json({ version: VERSION, digests }));
  return digests;
}

async function readStamp(path: string): Promise<Readonly<Record<string, string>>> {
  try {
    const stamp = JSON.parse(await readFile(path, "utf8")) as { version: number; digests: Record<string, string> };
    return stamp.version === VERSION ? stamp.digests : {};
  } catch {
    return {};
  }
}
