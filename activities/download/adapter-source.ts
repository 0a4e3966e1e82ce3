import { existsSync } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { RunConfig } from "../../core/config/schema.js";
import { loraOf } from "../../core/config/schema.js";
import { UnreachableError, UserError } from "../../core/errors.js";
import { planAdapter } from "../../core/model/lora/adapter.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, checkGoesOn, parseAdapterConfig } from "../../core/model/lora/adapter-config.js";
import type { BaseOrigin, Origin, StageResult } from "../../core/stages/results.js";
import { directoryDigest, listFiles, sha256, sha256File, writeFileAtomic } from "../../infra/disk/files.js";
import type { FetchEvents } from "../../infra/transfer/fetch.js";
import { AdapterFiles, hasAdapter, readAdapterConfig } from "../../infra/weights/adapter-files.js";
import { baseBeside, baseInManifest, baseWords, namedBase, pinnedSource, type BaseSource } from "./adapter-base.js";
import { fetchText } from "./fetch-text.js";
import { checkAsPublished } from "./as-published.js";
import { linkDirectory } from "./links.js";
import { modelConfig } from "./model-config.js";
import { checkSameIds } from "./same-tokenizer.js";
import { ggufOf } from "./gguf.js";
import { ADAPTER_TOKENIZER, TEMPLATE_FILES } from "./select.js";
import { describePlan, pathsOf, planLocal, planRemote, type AdapterPlan, type Got, type Places, type SourcePlan } from "./source-plan.js";

/** A model whose source is an adapter: its base is fetched as well, and the artifact is one directory with the base's files and the adapter's two. */

/** Only its small files are fetched. */
const quiet = (signal: AbortSignal): FetchEvents => ({ signal, onBytes: () => undefined, onNote: () => undefined });

/** Whether a file is one of an adapter's two; its tokenizer's are its base's. */
const isOwn = (name: string): boolean => name === ADAPTER_CONFIG || name === ADAPTER_WEIGHTS;

/** A plan as that of an adapter; null: it is another one's. */
function adapterOf(plan: SourcePlan): AdapterPlan | null {
  const hasFiles = plan.kind === "directory" || plan.kind === "remote";
  return hasFiles && plan.name === "model" && pathsOf(plan).includes(ADAPTER_CONFIG) ? plan : null;
}

/** The text of one of a plan's files. */
async function textOf(plan: AdapterPlan, name: string, signal: AbortSignal): Promise<string> {
  if (plan.kind === "directory") return await readFile(join(plan.directory, name), "utf8");
  return (await fetchText(plan.remote, plan.files, name, signal)).text;
}

/** The text of an adapter's config, and where it lies. */
async function configText(adapter: AdapterPlan, signal: AbortSignal): Promise<readonly [text: string, where: string]> {
  const where = adapter.kind === "directory" ? join(adapter.directory, ADAPTER_CONFIG) : `${ADAPTER_CONFIG} of ${adapter.remote.title}`;
  return [await textOf(adapter, ADAPTER_CONFIG, signal), where];
}

/** A plan's chat template; undefined: it has none. */
async function templateOf(plan: AdapterPlan, signal: AbortSignal): Promise<unknown> {
  const [jinja, config] = TEMPLATE_FILES.map((name) => (pathsOf(plan).includes(name) ? name : null));
  if (jinja != null) return await textOf(plan, jinja, signal);
  return config == null ? undefined : (JSON.parse(await textOf(plan, config, signal)) as { chat_template?: unknown }).chat_template;
}

/** An adapter's plan becomes that of its base, with the adapter beside it; any other plan stays. Throws UserError if the base cannot be found, or is an adapter itself. */
export async function withBase(
  places: Places,
  plan: SourcePlan,
  finished: StageResult | null,
  signal: AbortSignal,
  onNote?: (note: string) => void,
): Promise<SourcePlan> {
  const adapter = adapterOf(plan);
  if (adapter === null) return plan;
  const wanted = await baseOf(adapter, signal);
  onNote?.(`looking at the adapter's base, ${baseWords(wanted)}`);
  const { plan: base, digest } = await planBase(places, adapter, wanted, finished, signal, onNote);
  if (adapterOf(base) !== null)
    throw new UserError("the base of the adapter is an adapter itself: publish that one with publish.merge, and train on what this gives", {
      base: baseWords(wanted),
    });
  if (base.kind === "kept") return await keptWith(base, adapter, signal);
  if (base.kind === "file") throw new Error("a model's source is a directory or a repository");
  return { ...base, adapter, base: wanted.source, baseDigest: digest };
}

async function baseOf(adapter: AdapterPlan, signal: AbortSignal): Promise<BaseSource> {
  const isHere = adapter.kind === "directory";
  const published = isHere ? adapter.published : (adapter.remote.published ?? null);
  if (published !== null) return baseInManifest(published.manifest, published.uri);
  const [text, where] = await configText(adapter, signal);
  const place = isHere ? adapter.directory : adapter.remote.title;
  const base = namedBase(parseAdapterConfig(text, where).base, place, isHere) ?? (isHere ? await baseBeside(adapter.directory) : null);
  if (base === null)
    throw new UserError("the adapter does not name its base: set base_model_name_or_path in its adapter_config.json", { adapter: place });
  return base;
}

async function planBase(
  places: Places,
  adapter: AdapterPlan,
  { source, digest }: BaseSource,
  finished: StageResult | null,
  signal: AbortSignal,
  onNote?: (note: string) => void,
): Promise<{ readonly plan: SourcePlan; readonly digest: string | null }> {
  const isGone = source?.startsWith("file:") === true && !existsSync(fileURLToPath(source));
  if (source !== null && !(isGone && digest !== null)) {
    const plan = (await planLocal(places, "model", source)) ?? (await planRemote(places, "model", source, finished, signal, onNote));
    return { plan, digest };
  }
  const found = await places.downloadedModel(digest!);
  if (found === null)
    throw new UserError(
      "the adapter was made on a base that lay on a machine, and no download here has it: run the stage download of that base here, or set base_model_name_or_path in a copy of the adapter without its manifest.json",
      { adapter: adapter.kind === "directory" ? adapter.directory : adapter.remote.title, base: digest },
    );
  const { directory } = found;
  const paths = (await listFiles(directory)).filter((name) => !isOwn(name));
  return { plan: { kind: "directory", name: "model", directory, paths, choice: null, published: null }, digest: found.digest };
}

/** What a finished download left stands in if its adapter is the one that is wanted now. */
async function keptWith(
  kept: Extract<SourcePlan, { readonly kind: "kept" }>,
  adapter: AdapterPlan,
  signal: AbortSignal,
): Promise<SourcePlan> {
  const own = [];
  for (const { name, path } of await adapterFiles(adapter, quiet(signal)))
    if (isOwn(name)) own.push({ name, sha256: await sha256File(path, signal) });
  if (directoryDigest([...(kept.artifact.origin?.base?.files ?? []), ...own]) !== kept.artifact.sha256)
    throw new UnreachableError("the adapter's base cannot be reached, and the adapter is another one than when it was downloaded");
  return kept;
}

/** An adapter's files as they lie on this machine, and the bytes that came over the wire for each. */
async function adapterFiles(
  adapter: AdapterPlan,
  events: FetchEvents,
): Promise<readonly { readonly name: string; readonly path: string; readonly fetched: number }[]> {
  if (adapter.kind === "directory") return adapter.paths.map((name) => ({ name, path: join(adapter.directory, name), fetched: 0 }));
  const cached = await adapter.remote.fetch(adapter.files, events);
  return cached.map(({ path, blob, fetched }) => ({ name: path, path: blob, fetched }));
}

/**
 * Throws UserError if a run cannot train the model of a plan by its settings: targets that match nothing, ranks that are too
 * high, or an adapter that it does not go on with.
 */
export async function checkAdapters(
  { train, preprocess }: Pick<RunConfig, "train" | "preprocess">,
  plan: SourcePlan,
  signal: AbortSignal,
): Promise<void> {
  const lora = loraOf(train);
  const adapter = "adapter" in plan ? plan.adapter : undefined;
  const beside = plan.kind === "kept" && hasAdapter(fileURLToPath(plan.artifact.uri));
  if (lora === null && adapter === undefined && !beside) return;
  const { model } = await modelConfig(plan, signal);
  if (lora !== null) planAdapter(model, lora);
  if (beside) checkGoesOn(model, readAdapterConfig(fileURLToPath(plan.artifact.uri)), train);
  if (adapter === undefined) return;
  checkGoesOn(model, parseAdapterConfig(...(await configText(adapter, signal))), train);
  const { kind } = plan;
  if (preprocess.prompt === "chat" && (kind === "directory" || kind === "remote") && ggufOf(plan) === null) {
    const template = await templateOf(adapter, signal);
    if (template !== undefined && !isDeepStrictEqual(template, await templateOf(plan, signal)))
      throw new UserError(
        "the adapter's chat template is another one than its base's, which Roslin would take: write the adapter's into preprocess.prompt as {template}, or remove it from a copy of the adapter",
      );
  }
  // of one on this machine the shapes can be looked at as well
  if (adapter.kind === "directory") new AdapterFiles(adapter.directory, model).close();
}

/** Names of the base's files and their digests, by that of the base: kept, because a base may be large. */
const RECORD = "base.json";

/** Brings an adapter, and then its base by `getBase`, into one directory. The adapter is looked through before the base is fetched. */
export async function adaptedSource(
  directory: string,
  plan: Extract<SourcePlan, { readonly kind: "directory" | "remote" }> & { readonly adapter: AdapterPlan },
  events: FetchEvents,
  getBase: (plan: SourcePlan) => Promise<Got>,
): Promise<Got> {
  const { adapter, base: source, baseDigest = null, ...basePlan } = plan;
  const files = await adapterFiles(adapter, events);
  const own = files.filter(({ name }) => isOwn(name));
  const ownFiles = [];
  for (const { name, path } of own) ownFiles.push({ name, sha256: await sha256File(path, events.signal) });
  if (adapter.kind === "directory" && adapter.published !== null)
    for (const { name, sha256: got } of ownFiles) checkAsPublished(adapter.published, name, got);
  const kind = adapter.kind === "directory" ? "symbolic" : "hard";
  const links = own.map(({ name, path }) => ({ path: name, target: path, kind }) as const);
  const alone = join(directory, "adapter");
  await linkDirectory(alone, links, kind);
  const { model, fetched } = await modelConfig(basePlan, events.signal);
  new AdapterFiles(alone, model).close();

  const got = await getBase(basePlan);
  // a directory of the user's, or a prefix of a bucket, may hold other weights by now
  if (baseDigest !== null && got.artifact.sha256 !== baseDigest)
    throw new UserError(
      "the adapter's base is not the model that the adapter was made on: bring that one back, or set base_model_name_or_path in a copy of the adapter without its manifest.json to take another",
      { base: describePlan(basePlan), expected: baseDigest, got: got.artifact.sha256 },
    );
  const at = fileURLToPath(got.artifact.uri);
  for (const { name, path } of files) if (ADAPTER_TOKENIZER.includes(name)) await checkSameIds(name, join(at, name), path);
  const baseFiles = await digestsOf(join(directory, RECORD), at, got.artifact.sha256, events.signal);
  // what a stage made outlives that stage's directory; a user's own files get symbolic links
  const root = `${await realpath(dirname(dirname(directory)))}/`;
  const baseLinks = [];
  for (const { name } of baseFiles) {
    const target = await realpath(join(at, name));
    baseLinks.push({ path: name, target, kind: target.startsWith(root) ? "hard" : "symbolic" } as const);
  }
  const digest = directoryDigest([...baseFiles, ...ownFiles]);
  const view = join(directory, `adapted-${sha256(digest).slice(0, 12)}`);
  await linkDirectory(view, [...baseLinks, ...links], "symbolic");
  let { bytes } = got.artifact;
  for (const { path } of own) bytes += (await stat(path)).size;
  const { origin: known = null } = got.artifact;
  const base: BaseOrigin = {
    ...known,
    uri: source != null && basePlan.kind === "remote" ? pinnedSource(source, basePlan.remote.origin.uri) : (known?.uri ?? basename(at)),
    files: baseFiles,
  };
  const origin = { ...originOf(adapter), base };
  const wire = files.reduce((sum, each) => sum + each.fetched, 0) + fetched + got.fetched;
  return { artifact: { name: "model", uri: pathToFileURL(view).href, sha256: digest, bytes, origin }, fetched: wire };
}

/** The files of a directory with this digest, each with its own; throws Error if it has changed since. */
async function digestsOf(record: string, directory: string, digest: string, signal: AbortSignal): Promise<BaseOrigin["files"]> {
  const before = await readFile(record, "utf8").catch(() => null);
  const known = before === null ? null : (JSON.parse(before) as BaseOrigin["files"]);
  if (known !== null && directoryDigest(known) === digest) return known;
  const files = [];
  for (const name of await listFiles(directory)) files.push({ name, sha256: await sha256File(join(directory, name), signal) });
  if (directoryDigest(files) !== digest) throw new Error(`the base changed while it was read [directory=${directory}]`);
  await writeFileAtomic(record, JSON.stringify(files));
  return files;
}

function originOf(adapter: AdapterPlan): Pick<Origin, "uri" | "manifest"> {
  if (adapter.kind === "remote") return adapter.remote.origin;
  const { published, directory } = adapter;
  return published === null ? { uri: basename(directory) } : { uri: published.manifest.name, manifest: published.sha256 };
}
