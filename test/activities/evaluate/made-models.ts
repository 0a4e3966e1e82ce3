import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import type { EvaluateDependencies } from "../../../activities/evaluate/deps.js";
import type { Places } from "../../../activities/download/source-plan.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { bodyOf, headOf, type Instruction } from "../../../core/text/prompt.js";
import { IGNORED, type TokenRow } from "../../../core/rows/token-rows.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { artifactOf } from "../../../infra/disk/files.js";
import type { Tokens } from "../../../infra/dataset/tokens.js";
import { byteTokenizer, writeModel } from "../preprocess/helpers.js";

const tokenizer = createTokenizer(byteTokenizer, "tokenizer.json");

/** Row `source` of a split, one token a byte; its loss is on the response. */
function tokenRow(source: number, request: Instruction & { readonly output: string }): TokenRow {
  const { input = "" } = request;
  const inputIds = Int32Array.from(tokenizer.encode(headOf(input) + bodyOf(request)));
  const response =
    tokenizer.encode(bodyOf({ ...request, output: "" })).length - "\n\n### End".length + tokenizer.encode(headOf(input)).length;
  return { source, inputIds, labels: inputIds.map((id, at) => (at < response ? IGNORED : id)) };
}

/** `count` rows, every third with an input. */
export function madeRows(count: number): TokenRow[] {
  return Array.from({ length: count }, (_, index) =>
    tokenRow(3 * index + 1, {
      instruction: `Say ${index} in a word.`,
      ...(index % 3 === 0 ? { input: `The number is ${index}.` } : {}),
      output: "one two three four five".slice(0, 3 + (index % 20)),
    }),
  );
}

/** A request below `root` for two models that have a tokenizer and nothing to compute with. */
export async function madeRequest(root: string, evaluate: object = {}): Promise<StageRequest> {
  const at = (name: string): string => join(root, name);
  for (const name of ["model", "tuned"]) writeModel(at(name), { n_embd: name === "model" ? 8 : 16 });
  mkdirSync(at("tokens"), { recursive: true });
  const inputs = await Promise.all(["model", "tuned", "tokens"].map((name) => artifactOf(name, at(name))));
  return { config: parseRunConfig({ evaluate }), inputs, root: at("stages") };
}

/** Where there is nothing: tasks with items on this machine need no other place. */
export const noPlaces: Places = {
  hub: { resolve: () => Promise.reject(new Error("the hub was asked")) },
  buckets: { open: () => Promise.reject(new Error("a bucket was asked")) },
  findPublished: () => Promise.resolve(null),
  downloadedModel: () => Promise.resolve(null),
};

/** Where evaluations look for a live model that compare with none. */
export const NO_LIVE: EvaluateDependencies["live"] = {
  defaultTarget: () => assert.fail("no rule compares with the live model"),
  find: () => assert.fail("no rule compares with the live model"),
  fetch: () => assert.fail("no rule compares with the live model"),
};

/** Models that compute nothing: a row costs the base 0.75 a label and the tuned one 0.3, and each has an answer. `calls` hears of each item. */
export function madeDependencies(rows: readonly TokenRow[], calls: (call: string) => void = () => undefined): EvaluateDependencies {
  return {
    places: noPlaces,
    live: NO_LIVE,
    openTokens: () => Promise.resolve({ test: { count: rows.length, row: (index: number) => rows[index]! } } as unknown as Tokens),
    openInference(directory, signal) {
      const base = basename(directory) === "model";
      const name = base ? "base" : "tuned";
      calls(`open ${name}`);
      return Promise.resolve({
        score(batch) {
          signal.throwIfAborted();
          calls(`score ${name} ${batch.map(({ source }) => source).join(" ")}`);
          const labels = batch.map((row) => row.labels.filter((label) => label !== IGNORED).length);
          const all = labels.reduce((sum, count) => sum + count, 0);
          const rows = labels.map((count, row) => count * (base ? 0.75 : 0.3) + (row === 0 ? batch[0]!.source / 7 : 0));
          return Promise.resolve({ nll: all * (base ? 0.75 : 0.3) + batch[0]!.source / 7, labels: all, rows });
        },
        async *generate(prompts, { maxNewTokens = Infinity, isLast = () => false } = {}) {
          signal.throwIfAborted();
          calls(`generate ${name} ${prompts.map(({ length }) => length).join(" ")}`);
          for (const sequence of prompts.keys())
            for (const [count, token] of tokenizer.encode(base ? "again and ".repeat(20) : "a <word>\n\n### End and more").entries()) {
              if (count === maxNewTokens) break;
              yield await Promise.resolve({ sequence, token });
              if (isLast({ sequence, token })) break;
            }
        },
        close: () => Promise.resolve(),
      });
    },
  };
}
