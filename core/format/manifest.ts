import { z } from "zod";
import { CorruptError } from "../errors.js";
import { overrideSchema } from "../stages/override.js";
import { currentOutputs, STAGES } from "../stages/results.js";

/** The manifest of a published model: every file's digest, and the chain of digests from raw rows and base weights to them. */

/** Name of the manifest among the published files. */
export const MANIFEST = "manifest.json";
/** Name of the model card among the published files. */
export const CARD = "README.md";
/** Name of the evaluation's report among the published files. */
export const REPORT = "evaluation.json";
/** Name of the page that shows a run to people, among the published files. */
export const PAGE = "report.html";

/** What a published model may be called: a single part of a path. */
export const PUBLISHED_NAME: RegExp = /^[\w-][\w.-]*$/;

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const named = z.object({ name: z.string(), sha256: digest });
const file = named.extend({ bytes: z.int().min(0) });

/** of what was downloaded, see Origin */
const origin = z.object({
  uri: z.string(),
  manifest: digest.optional(),
  gguf: z.object({ file: z.string(), sha256: digest }).optional(),
});
const adaptedOrigin = origin.extend({ base: origin.extend({ files: z.array(named) }).optional() });

const schema = z.object({
  format: z.literal("roslin-manifest"),
  version: z.literal(1),
  /** the model's directory under the target, and on a machine that fetches the model */
  name: z.string().regex(PUBLISHED_NAME),
  /** version of the publish stage; absent in older manifests, whose name does not depend on what is in them */
  publishVersion: z.int().optional(),
  files: z.array(file),
  /** one entry for each stage, in order; its key is the digest of [stage, version, settings, inputs] and so commits to them */
  chain: z.array(
    z.object({
      stage: z.enum(STAGES),
      version: z.int(),
      settings: z.unknown(),
      inputs: z.array(named),
      key: digest,
      outputs: z.array(file.extend({ origin: adaptedOrigin.optional() })),
      stateDigest: digest.optional(),
      /** of training that was begun with one engine and finished with another: which steps were computed how, first to last */
      computed: z.array(z.object({ steps: z.int().min(1), by: z.record(z.string(), z.string()) })).optional(),
    }),
  ),
  /** files of the tuned model's directory; the directory's digest is the training stage's output */
  tuned: z.array(named),
  /** those of the tuned files that are published with something added, or not as files of their own */
  amended: z.array(z.string()),
  /** true: adapters are published merged into their base, so that of the tuned files the adapter's are not there */
  merged: z.literal(true).optional(),
  /** what the weights' bytes depend on besides inputs and settings; null: training ran on several kinds of machine, or didn't say */
  fingerprint: z.record(z.string(), z.unknown()).nullable(),
  /** licence of all that the model and its bases were tuned on, as the hub calls it; absent in older manifests */
  licence: z.string().optional(),
  /** the repository on the hub that the model or its bases began with; null: they began elsewhere */
  baseModel: z.string().nullable().optional(),
  /** whether `latest.json` might name the model; absent in older manifests */
  gate: z
    .object({
      judged: z.boolean(),
      passed: z.boolean(),
      /** why it was not passed; absent if it was */
      reason: z.string().optional(),
      /** who decided that this does not count; absent: nobody */
      override: overrideSchema.optional(),
    })
    .optional(),
});

/** The manifest of a published model. */
export type Manifest = z.infer<typeof schema>;
/** What one stage commits to. */
export type ChainEntry = Manifest["chain"][number];

/** Reads a manifest. Throws CorruptError that names where it came from, also for a file name that would leave its directory. */
export function parseManifest(text: string, where: string): Manifest {
  let manifest: Manifest;
  try {
    manifest = schema.parse(JSON.parse(text));
  } catch (error) {
    throw new CorruptError("a manifest is damaged, or Roslin did not write it", { file: where }, { cause: error });
  }
  const outside = manifest.files.find(({ name }) => /(^|\/)(\.\.?)?(\/|$)|\\|\0/.test(name));
  if (outside !== undefined) throw new CorruptError("a manifest names a file outside its directory", { file: where, got: outside.name });
  return manifest;
}

/** Files of a published model that an answer, or a score, needs. */
const NEEDED =
  /^(config\.json|generation_config\.json|tokenizer[^/]*\.json|special_tokens_map\.json|added_tokens\.json|chat_template\.\w+|vocab\.json|merges\.txt|[^/]*\.safetensors(\.index\.json)?)$/;

/** Whether a published file is one that computing with the model needs: its config, its tokenizer's files and its weights. */
export function isModelFile(name: string): boolean {
  return NEEDED.test(name);
}

/** A manifest as it is published: equal ones are the same bytes. */
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 1)}\n`;
}

/** A link of the chain, and what is wrong with it; null: nothing. */
export interface Link {
  readonly link: string;
  readonly problem: string | null;
}

/** Hashes that checking needs: of a text, and of a directory from its files. */
export interface Digests {
  sha256(text: string): string;
  directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string;
}

/** The digest that a stage's key is. */
export function keyOf(
  { stage, version, settings, inputs }: Pick<ChainEntry, "stage" | "version" | "settings" | "inputs">,
  digests: Pick<Digests, "sha256">,
): string {
  return digests.sha256(JSON.stringify([stage, version, settings, inputs.map(({ name, sha256 }) => [name, sha256])]));
}

/** The digits that end a published model's name: a digest of all that it was made of. */
export function nameDigits(
  {
    publishVersion,
    chain,
    fingerprint,
    licence,
    baseModel,
    merged,
  }: Pick<Manifest, "publishVersion" | "chain" | "fingerprint" | "licence" | "baseModel" | "merged">,
  digests: Pick<Digests, "sha256">,
): string {
  return digests
    .sha256(JSON.stringify([publishVersion, chain, fingerprint, licence, baseModel, ...(merged === true ? [{ merged }] : [])]))
    .slice(0, 12);
}

/**
 * Walks the chain within a manifest: keys against settings and inputs, inputs against earlier outputs, published files against
 * the last outputs, and all of it against the digits in the model's name and in its directory's name, if that has digits.
 */
export function checkChain(manifest: Manifest, digests: Digests, directory = manifest.name): Link[] {
  const known = new Map<string, string>();
  const links: Link[] = [];
  const check = (link: string, expected: string | undefined, got: string | undefined): void => {
    links.push({
      link,
      problem: expected !== undefined && expected === got ? null : `expected ${expected ?? "an earlier output"}, got ${got ?? "none"}`,
    });
  };
  for (const entry of manifest.chain) {
    for (const { name, sha256 } of entry.inputs) check(`${entry.stage}'s input ${name}`, known.get(name), sha256);
    check(`${entry.stage}'s settings`, keyOf(entry, digests), entry.key);
    for (const { name, sha256 } of currentOutputs(entry.stage, entry.outputs)) known.set(name, sha256);
  }
  check("the trained model", known.get("tuned"), digests.directoryDigest(manifest.tuned));
  const published = new Map(manifest.files.map(({ name, sha256 }) => [name, sha256]));
  for (const { name, sha256 } of manifest.tuned)
    if (!manifest.amended.includes(name)) check(`published ${name}`, sha256, published.get(name));
  check(`published ${REPORT}`, known.get("report"), published.get(REPORT));
  if (manifest.publishVersion !== undefined) {
    const expected = nameDigits(manifest, digests);
    const [own, called] = [manifest.name, directory].map((name) => /-([0-9a-f]{12})$/.exec(name)?.[1]);
    check("the model's name", expected, own === expected ? (called ?? expected) : own);
  }
  return links;
}
