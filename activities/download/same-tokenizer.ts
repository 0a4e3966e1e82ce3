import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { UserError } from "../../core/errors.js";

/** Throws UserError if a tokenizer's file of an adapter gives words other ids than its base's. A base that lacks the file has its ids elsewhere. */
export async function checkSameIds(name: string, base: string, adapter: string): Promise<void> {
  if (!existsSync(base)) return;
  const [ours, theirs] = [await readFile(base, "utf8"), await readFile(adapter, "utf8")];
  if (ours === theirs || isDeepStrictEqual(idsIn(name, ours), idsIn(name, theirs))) return;
  throw new UserError(
    "the adapter's tokenizer gives other ids than its base's: an adapter with words of its own needs embeddings of its own, which Roslin does not train",
    { file: name },
  );
}

/** What decides ids. */
function idsIn(name: string, text: string): unknown {
  if (!name.endsWith(".json")) return text.trim();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UserError("a tokenizer's file is not JSON", { file: name }, { cause: error });
  }
  if (name !== "tokenizer.json") return json;
  const { model, added_tokens: added } = json as {
    readonly model?: { readonly vocab?: unknown; readonly merges?: readonly (string | readonly string[])[] };
    readonly added_tokens?: readonly { readonly id: number; readonly content: string }[];
  };
  // transformers 5 writes merges as pairs
  const merges = model?.merges?.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
  // a GGUF's vocabulary has the added tokens in it
  return [{ ...(model?.vocab as object | undefined), ...Object.fromEntries(added?.map(({ id, content }) => [content, id]) ?? []) }, merges];
}
