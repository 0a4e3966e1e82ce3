import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { ChangedInputError, CorruptError, UserError } from "../../core/errors.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { digestFile, gitBlobId } from "../../infra/disk/file-digest.js";
import { sha256 } from "../../infra/disk/files.js";
import type { HubCommit, HubRefs, HubRepository } from "../../infra/hub/hub-repository.js";
import type { StageContext } from "../common/stage.js";
import type { LiveReference } from "../evaluate/evaluation.js";
import { adopt } from "./adopt.js";
import type { PublishedModel, PublishingPlace, Sent, SmallFiles, Verdict } from "./place.js";
import { SIGNATURES } from "./sign.js";
import { REPORT_MS } from "./upload.js";

/** The branch whose last commit is what is live. */
const MAIN = "main";

/**
 * A repository on the hub, with a model's files at its top. A model that passed the gate is one commit on main, with a tag of the
 * model's name; one that failed is one commit on a branch of that name, and main stays. What is live is what main holds.
 */
export function hubPlace(repository: HubRepository, target: string): PublishingPlace {
  const files = filesOf(repository);
  return {
    files,
    // main can always be moved
    async checkLive(name, live) {
      const main = live === null ? null : await repository.at(MAIN);
      if (live !== null) await checkLiveOnHub(repository, main, name, live);
    },
    // a card comes with its model
    adopt: async (made, directory, say) => ({ manifest: (await adopt(files, made, directory, say)).manifest, claimed: 0 }),
    send: (model, verdict, directory, context) => sendToHub(repository, target, model, verdict, directory, context),
    async seals(keys) {
      const name = keys[0]?.split("/")[0];
      const there = name === undefined ? null : await repository.at(name);
      const digests = new Map(there?.files.map(({ path, digest }) => [`${name}/${path}`, digest.hex]));
      return Object.fromEntries(keys.map((key) => [key, digests.get(key) ?? null]));
    },
  };
}

/** The manifest in a commit; null: there is none, or it is damaged or not Roslin's, so that nothing in it counts. */
async function manifestIn(repository: HubRepository, { commit, files }: HubCommit): Promise<Manifest | null> {
  if (!files.some(({ path }) => path === MANIFEST)) return null;
  try {
    return parseManifest((await repository.read(commit, MANIFEST)).toString(), `${repository.id}@${commit}/${MANIFEST}`);
  } catch (error) {
    if (error instanceof CorruptError) return null;
    throw error;
  }
}

/** Files of the model that a key's first part names, at its tag or branch, or on main before it has them. They are written with the model. */
function filesOf(repository: HubRepository): SmallFiles {
  const written = (): Promise<boolean> => Promise.resolve(true);
  return {
    uri: `hf://${repository.id}`,
    async read(key) {
      const [name = "", ...path] = key.split("/");
      const there = (await repository.at(name)) ?? (await liveAs(repository, name));
      const file = there?.files.find((file) => file.path === path.join("/"));
      return file === undefined ? null : Readable.from([await repository.read(there!.commit, file.path)]);
    },
    create: written,
    replace: written,
  };
}

/** What main holds, if it is the model of this name; null: it is not. */
async function liveAs(repository: HubRepository, name: string): Promise<HubCommit | null> {
  const main = await repository.at(MAIN);
  return main !== null && (await manifestIn(repository, main))?.name === name ? main : null;
}

/** Throws ChangedInputError if main holds neither the live model that a model was compared with nor that model itself. */
async function checkLiveOnHub(repository: HubRepository, main: HubCommit | null, name: string, live: LiveReference): Promise<void> {
  const bytes = main?.files.some(({ path }) => path === MANIFEST) === true ? await repository.read(main.commit, MANIFEST) : null;
  const got = bytes === null ? "none" : sha256(bytes);
  if (got === live.manifest || (main !== null && (await manifestIn(repository, main))?.name === name)) return;
  throw new ChangedInputError(
    "main holds another model than the one that this one was compared with: run `roslin stage evaluate` again, which compares with that one",
    { compared: live.manifest, got },
  );
}

/** The files of a model to publish: where each lies on this machine, and its digest. */
interface Files {
  readonly paths: ReadonlyMap<string, string>;
  readonly sha256s: ReadonlyMap<string, string>;
}

async function sendToHub(
  repository: HubRepository,
  target: string,
  model: PublishedModel,
  verdict: Verdict,
  directory: string,
  context: StageContext,
): Promise<Sent | null> {
  const { manifest } = model;
  const { name } = manifest;
  const { signal } = context;
  const passed = verdict.closed === null;
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const say = (note: string): void => context.progress({ stage: "publish", done: bytes, total: bytes, unit: "bytes", note, lasting: true });
  const ended = (commit: string, sent: number, live: boolean): Sent => ({ uri: `${target}@${commit}`, bytes, sent, live });
  const files = await filesToSend(model, directory, signal);

  let refs: HubRefs | null = await repository.refs();
  if (refs === null) {
    await repository.create();
    refs = { branches: new Set([MAIN]), tags: new Set() };
  }
  const main = await repository.at(MAIN);
  if (main === null)
    throw new UserError("the repository has no branch main, which holds what is live: make it on the repository's page", { target });
  const live = await manifestIn(repository, main);
  const own = refs.tags.has(name) || refs.branches.has(name) ? await repository.at(name) : null;
  const title = `Publish ${name}`;
  if (passed && live !== null && live.name !== name) {
    // a run that was killed may have left its commit without a tag
    const past = refs.tags.has(name) ? own : await committed(repository, title);
    if (past !== null) {
      say(`main has moved on from ${name} to ${live.name}, and stays there`);
      const amended = await amend(repository, past, { name, title, bytes, refs }, files, context);
      return amended === null ? null : ended(amended.commit, amended.sent, false);
    }
  }
  const isThere = own !== null && (await differing(own, files, signal)).size === 0;
  if (isThere && refs.tags.has(name) && live !== null) return ended(own.commit, 0, live.name === name);
  if (isThere && !passed) return ended(own.commit, 0, false);

  if (passed && verdict.live !== null) await checkLiveOnHub(repository, main, name, verdict.live);
  const isBegun = !passed && own !== null && refs.branches.has(name);
  if (!passed && !isBegun && !(await repository.branch(name, main.commit))) return null;
  const parent = isBegun ? own : main;
  const written = await commitOnce(repository, parent, { branch: passed ? MAIN : name, title, bytes }, files, context);
  if (written === null) return null;
  const { commit, sent } = written;
  if (!passed) {
    say(`${verdict.closed}: ${name} is on a branch of its name, and main stays`);
    return ended(commit, sent, false);
  }
  // a branch of this name is from when the gate had not been passed, and a tag from what main has no more
  if (refs.branches.has(name)) await repository.removeBranch(name);
  if (refs.tags.has(name) && own?.commit !== commit) await repository.removeTag(name);
  if (!(await repository.tag(name, commit)) && (await repository.at(name))?.commit !== commit) return null;
  return ended(commit, sent, true);
}

/** The model's files and its manifest; the card may be another run's, and lies with the manifest in the stage's directory. */
async function filesToSend({ manifest, paths, digests, beside }: PublishedModel, directory: string, signal: AbortSignal): Promise<Files> {
  const all = new Map<string, string>();
  const sha256s = new Map<string, string>();
  for (const { name, sha256 } of [...manifest.files, ...[...beside, MANIFEST].map((name) => ({ name, sha256: "" }))]) {
    const path = paths.get(name) ?? join(directory, name);
    all.set(name, path);
    sha256s.set(name, digests.has(sha256) ? sha256 : (await digestFile(path, signal)).sha256);
  }
  return { paths: all, sha256s };
}

/** The last commit of main with this title; null: there is none. */
async function committed(repository: HubRepository, title: string): Promise<HubCommit | null> {
  const commit = (await repository.commits(MAIN)).find((commit) => commit.title === title);
  return commit === undefined ? null : await repository.at(commit.id);
}

/**
 * A model that main has moved on from, with its tag: if something of it is missing, such as signatures that nobody asked for
 * before, the tag then names one commit more, which is on no branch. Null: another run does the same.
 */
async function amend(
  repository: HubRepository,
  past: HubCommit,
  { name, title, bytes, refs }: Readonly<{ name: string; title: string; bytes: number; refs: HubRefs }>,
  files: Files,
  context: StageContext,
): Promise<{ readonly commit: string; readonly sent: number } | null> {
  const isWhole = (await differing(past, files, context.signal)).size === 0;
  const branch = `amended/${name}`;
  // it is there after a kill
  if (!isWhole) await repository.branch(branch, past.commit);
  const parent = isWhole ? past : await repository.at(branch);
  const written = parent === null ? null : await commitOnce(repository, parent, { branch, title, bytes }, files, context);
  if (written === null) return null;
  if (!refs.tags.has(name) || past.commit !== written.commit) {
    if (refs.tags.has(name)) await repository.removeTag(name);
    if (!(await repository.tag(name, written.commit))) return null;
  }
  if (!isWhole || refs.branches.has(branch)) await repository.removeBranch(branch);
  return written;
}

/** Those of the files that are not in a commit with their bytes. */
async function differing(commit: HubCommit, { paths, sha256s }: Files, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const there = new Map(commit.files.map(({ path, digest }) => [path, digest]));
  const others = new Map<string, string>();
  for (const [name, path] of paths) {
    const digest = there.get(name);
    const got = digest?.kind === "git" ? await gitBlobId(path, signal) : sha256s.get(name);
    if (got !== digest?.hex) others.set(name, path);
  }
  return others;
}

/** The files as one commit after `parent`, without those that the former model has besides, unless it holds them already; null: the branch has moved meanwhile. */
async function commitOnce(
  repository: HubRepository,
  parent: HubCommit,
  { branch, title, bytes }: Readonly<{ branch: string; title: string; bytes: number }>,
  files: Files,
  context: StageContext,
): Promise<{ readonly commit: string; readonly sent: number } | null> {
  const changed = await differing(parent, files, context.signal);
  // what people put beside a model stays
  const former = new Set([...((await manifestIn(repository, parent))?.files.map(({ name }) => name) ?? []), ...SIGNATURES]);
  const removed = parent.files.map(({ path }) => path).filter((path) => former.has(path) && !files.paths.has(path));
  if (changed.size === 0 && removed.length === 0) return { commit: parent.commit, sent: 0 };
  const sizes = new Map<string, number>();
  for (const [name, path] of changed) sizes.set(name, (await stat(path)).size);
  const total = [...sizes.values()].reduce((sum, each) => sum + each, 0);
  const shares = new Map<string, number>();
  const done = (): number => [...shares].reduce((sum, [path, share]) => sum + share * (sizes.get(path) ?? 0), bytes - total);
  // a large file whose bytes the hub has already is whole from the first word on
  let kept = 0;
  let note = "";
  const report = (): void =>
    context.progress({ stage: "publish", done: Math.max(0, Math.min(bytes, Math.round(done()))), total: bytes, unit: "bytes", note });
  const ticking = setInterval(report, REPORT_MS);
  try {
    const description = `${MANIFEST}: sha256 ${files.sha256s.get(MANIFEST)}`;
    const change = { branch, parent: parent.commit, title, description, files: changed, removed };
    const commit = await repository.commit(change, (path, share) => {
      if (!shares.has(path) && share === 1) kept += sizes.get(path) ?? 0;
      shares.set(path, share);
      note = path;
    });
    if (commit === null) return null;
    const now = await repository.at(commit);
    if (now === null || (await differing(now, files, context.signal)).size > 0)
      throw new CorruptError("the hub's commit does not hold what was sent: publish again", { repository: repository.id, commit });
    return { commit, sent: total - kept };
  } finally {
    clearInterval(ticking);
  }
}
