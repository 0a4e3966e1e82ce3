import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { selectModelFiles } from "../../activities/download/select.js";
import { finishedStage } from "../../activities/common/stage.js";
import { besidePublished } from "../../core/config/source-ref.js";
import { CorruptError, ForbiddenError, messageOf, UserError } from "../../core/errors.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../../core/model/lora/adapter-config.js";
import { checkChain, MANIFEST, parseManifest, type Link, type Manifest } from "../../core/format/manifest.js";
import { currentOutputs, outputNamed, STAGES, type StageResult } from "../../core/stages/results.js";
import { artifactOf, directoryDigest, sha256 } from "../../infra/disk/files.js";
import { openVerifier, type Verifier } from "../../infra/signing/keys.js";
import { digestPublished, openPublished, type Published, type PublishedAccess } from "../../infra/sources/published.js";
import { s3SettingsOf } from "../../infra/store/s3-store.js";
import type { Command } from "../shell/command.js";
import type { Environment } from "../../workers/environment.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { withS3 } from "../machine/with-s3.js";
import { checkSignatures } from "./verify-signatures.js";

/** `roslin verify`: every file against its digest, and the chain of digests from raw rows and base weights to them. */
export const verify: Command = {
  name: "verify",
  summary: "check a published model, or the stages of a run, against their digests",
  usage:
    "verify RUN [--key PUB.pem]\nRUN: the s3://, file:// or hf:// address of a published model, its directory, or the stages' --dir\n--key: the public key of the one that published it, to check its signatures",
  async run(args, environment) {
    const { positionals, values } = parseArgs({ args: [...args], allowPositionals: true, options: { key: { type: "string" } } });
    const [run] = positionals;
    if (run === undefined || positionals.length > 1)
      throw new UserError("name one run: the address of a published model, or the stages' --dir");
    const key = values.key === undefined ? null : await openVerifier(values.key);
    const links = await untilInterrupted((signal) => check(run, { environment, key }, signal));
    const broken = links.filter(({ problem }) => problem !== null);
    for (const { link, problem, overtaken, unchecked } of links) {
      if (problem !== null) console.log(`BROKEN  ${link}: ${problem}`);
      else if (unchecked === true) console.log(`signed  ${link}: not checked, because no --key is given`);
      else console.log(overtaken === true ? `past    ${link}: not kept here any more, for a later run has other data` : `ok      ${link}`);
    }
    if (broken.length > 0) throw new CorruptError(`${broken.length} of ${links.length} links are broken, the first: ${broken[0]!.link}`);
    const past = links.filter(({ overtaken }) => overtaken === true).length;
    const checked = links.filter(({ overtaken, unchecked }) => overtaken !== true && unchecked !== true).length;
    console.log(past === 0 ? `all ${checked} links hold` : `all ${checked} links that are kept here hold`);
    return 0;
  },
};

/** A checked link; `overtaken`: a later run replaced what it would be checked against, which is not an error; `unchecked`: a signature without a key. */
type Checked = Link & { readonly overtaken?: boolean; readonly unchecked?: boolean };

/** What a check is made with; `key`: the public key of the one that published, null if it is not given. */
interface With {
  readonly environment: Environment;
  readonly key: Verifier | null;
}

/** Every link of a run, checked. */
async function check(run: string, given: With, signal: AbortSignal): Promise<Checked[]> {
  const isAddress = /^(s3|file|hf):\/\//.test(run);
  const directory = resolve(run);
  if (!isAddress && !existsSync(directory))
    throw new UserError("there is no such directory: name one, or the address of a published model", { directory });
  if (!isAddress && (await stagesIn(directory)).length > 0) return await checkStages(directory, given, signal);
  return await checkAddress(isAddress ? run : pathToFileURL(directory).href, given, signal);
}

/** Checks a model and those that it was tuned from; `seen` holds the addresses of earlier walks, where this one ends. */
async function checkAddress(uri: string, { environment, key }: With, signal: AbortSignal, seen = new Set<string>()): Promise<Checked[]> {
  return await withS3(environment, uri, signal, async ({ variables }) => {
    const access = { ...s3SettingsOf(variables), hub: environment.hub };
    const links: Checked[] = [];
    const first = await openPublished(uri, access, signal);
    for (let published: Published | null = first; published !== null && !seen.has(published.uri);) {
      seen.add(published.uri);
      links.push(...(await checkPublished(published, signal)));
      const base = await checkBase(published, access, signal);
      if (base !== null) links.push(base.link);
      published = base?.published ?? null;
    }
    // others may have published its base, with keys of their own; the base's manifest is a link of this one's chain
    return [...links, ...(await signatureLinks(first, key, signal))];
  });
}

async function signatureLinks(published: Published, key: Verifier | null, signal: AbortSignal): Promise<Checked[]> {
  const { links, unchecked } = await checkSignatures(published, key, signal);
  return [...links, ...unchecked.map((link) => ({ link, problem: null, unchecked: true }))];
}

/** The link from a model to the published one that it was tuned from, and that model if the link holds; null: its base was not published by Roslin. */
async function checkBase(
  { uri, manifest }: Published,
  access: PublishedAccess,
  signal: AbortSignal,
): Promise<{ readonly link: Link; readonly published: Published | null } | null> {
  const model = manifest.chain.flatMap(({ stage, outputs }) => (stage === "download" ? outputs : [])).find(({ name }) => name === "model");
  const whole = model?.origin;
  // of an adapter that Roslin did not publish, its base may be one that Roslin did
  const origin = whole?.manifest === undefined ? whole?.base : whole;
  if (origin?.manifest === undefined) return null;
  const place = origin.uri.includes("://") ? origin.uri : besidePublished(uri, origin.uri);
  const link = `base model ${place}`;
  try {
    const published = await openPublished(place, access, signal);
    const { manifest: base, sha256: got } = published;
    if (got !== origin.manifest)
      return { link: { link, problem: `expected a manifest of ${origin.manifest}, got ${got}` }, published: null };
    const began = origin === whole?.base ? directoryDigest(whole.base.files) : model!.sha256;
    const weights = directoryDigest([...filesRead(base, place), ...(origin === whole ? (whole?.base?.files ?? []) : [])]);
    const problem = weights === began ? null : `its files' digest is ${weights}, the model began with ${began}`;
    return { link: { link, problem }, published };
  } catch (error) {
    if (!(error instanceof UserError || error instanceof CorruptError)) throw error;
    return { link: { link, problem: messageOf(error) }, published: null };
  }
}

/** Those of a published model's files that training begins with; of an adapter its own two, because its base has the others. */
function filesRead({ files }: Manifest, place: string): Manifest["files"] {
  const read = selectModelFiles(
    files.map(({ name }) => name),
    place,
  );
  const own = [ADAPTER_CONFIG, ADAPTER_WEIGHTS];
  return files.filter(({ name }) => (read.includes(ADAPTER_CONFIG) ? own : read).includes(name));
}

/** The files of a published model against its manifest, and the manifest's own chain. */
export async function checkPublished({ uri, store, manifest }: Published, signal: AbortSignal): Promise<Link[]> {
  const links: Link[] = [];
  for (const { name, sha256: expected, bytes } of manifest.files) {
    const problem = await digestPublished(store, name, signal).then(
      (got) => {
        if (got === null) return "it is gone";
        return got.sha256 === expected ? null : `expected ${expected} of ${bytes} bytes, got ${got.sha256} of ${got.bytes}`;
      },
      (error: unknown) => {
        // without the right to list, S3 calls a missing object forbidden
        if (error instanceof ForbiddenError) return "it is gone, or may not be read";
        if (error instanceof CorruptError) return error.message;
        throw error;
      },
    );
    links.push({ link: `${uri}/${name}`, problem });
  }
  // on the hub the directory is the repository, and the model's name its tag
  const called = uri.startsWith("hf:") ? /@([^@]+)$/.exec(uri)?.[1] : basename(uri);
  return [...links, ...checkChain(manifest, { sha256, directoryDigest }, called)];
}

/** Checks every finished stage below a directory: its outputs as they are now, and what the published manifests say of them. */
async function checkStages(root: string, given: With, signal: AbortSignal): Promise<Checked[]> {
  const stages = await stagesIn(root);
  const links: Checked[] = [];
  // several models may have the same bases: each is read once
  const seen = new Set<string>();
  for (const { directory, result } of stages) {
    if (result.stage === "publish") {
      const manifest = parseManifest(await readFile(join(directory, MANIFEST), "utf8"), join(directory, MANIFEST));
      const { uri } = outputNamed(result.outputs, "published");
      const published = checkAddress(uri, given, signal, seen).catch((error: unknown): Checked[] => [
        { link: uri, problem: messageOf(error) },
      ]);
      links.push(...recorded(manifest, stages), ...(await published));
      continue;
    }
    for (const { name, uri, sha256: expected } of result.outputs) {
      const got = await artifactOf(name, fileURLToPath(uri), signal).catch((error: unknown) =>
        (error as NodeJS.ErrnoException).code === "ENOENT" ? "it is gone" : messageOf(error),
      );
      const problem = typeof got === "string" ? got : got.sha256 === expected ? null : `expected ${expected}, got ${got.sha256}`;
      links.push({ link: `${result.stage}'s output ${name} (${uri})`, problem });
    }
  }
  // a link that could not be read because of an interruption is not broken
  signal.throwIfAborted();
  return links;
}

/**
 * Compares a manifest's chain with what the stages recorded. A download's directory depends on its sources' addresses
 * alone: if they hold something new, the next record replaces the one before.
 */
function recorded(manifest: Manifest, stages: readonly Finished[]): Checked[] {
  return manifest.chain.flatMap(({ stage, key, outputs }) => {
    const own = stages.find(({ directory, result }) => result.stage === stage && basename(directory) === key.slice(0, 16));
    return currentOutputs(stage, outputs).map(({ name, sha256: expected }) => {
      const link = `${stage}'s record of ${name}`;
      const got = own?.result.outputs.find((output) => output.name === name)?.sha256;
      if (got === expected) return { link, problem: null };
      if (stage === "download" && got !== undefined) return { link, problem: null, overtaken: true };
      return { link, problem: `expected ${expected}, got ${got ?? "none"}` };
    });
  });
}

interface Finished {
  readonly directory: string;
  readonly result: StageResult;
}

/** The finished stages below a directory, in the order of a run. */
async function stagesIn(root: string): Promise<Finished[]> {
  const found = [];
  for (const stage of STAGES) {
    const keys = existsSync(join(root, stage)) ? await readdir(join(root, stage)) : [];
    for (const key of keys.sort()) {
      const directory = join(root, stage, key);
      const result = await finishedStage(directory);
      if (result !== null) found.push({ directory, result });
    }
  }
  return found;
}
