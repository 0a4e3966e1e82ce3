import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ChangedInputError, CorruptError, UserError } from "../../core/errors.js";
import { CARD, MANIFEST, type Manifest } from "../../core/format/manifest.js";
import { digestFile, gitBlobId } from "../../infra/disk/file-digest.js";
import { sha256, writeFileAtomic } from "../../infra/disk/files.js";
import type { HubCommit, HubRepository } from "../../infra/hub/hub-repository.js";
import type { StageContext } from "../common/stage.js";
import type { Going, PublishingPlace, Sent, SignedModel } from "./place.js";
import { readableManifest } from "./readable-manifest.js";
import { REPORT_MS } from "./upload.js";

/** The branch whose last commit is what is live. */
const MAIN = "main";
/** A file of the repository itself, which says what is in LFS. */
const ATTRIBUTES = ".gitattributes";

/**
 * A repository on the hub, with a model's files at its top. A model that passed the gate is one commit on main, with a tag of the
 * model's name; one that failed is one commit on a branch of that name, and main stays. What is live is what main holds.
 */
export function hubPlace(repository: HubRepository, target: string): PublishingPlace {
  return {
    async manifestOf(name) {
      const there = await repository.at(name);
      return there === null ? null : ((await manifestIn(repository, there))?.manifest ?? null);
    },
    published: (name) => async (file) => {
      // before its tag was made, main alone has it
      for (const revision of [name, MAIN]) {
        const there = await repository.at(revision);
        if (there?.files.some(({ path }) => path === file) === true) return await repository.read(there.commit, file);
      }
      return null;
    },
    // main can always be moved
    async checkLive(name, compared) {
      const main = compared === null ? null : await repository.at(MAIN);
      await checkMainStill(repository, main, name, compared);
    },
    adopt: (made, directory, say) => adoptOnHub(repository, made, directory, say),
    send: (model, going, directory, context) => sendToHub(repository, target, model, going, directory, context),
    async seals(keys) {
      const name = keys[0]?.split("/")[0];
      const there = name === undefined ? null : await repository.at(name);
      const digests = new Map(there?.files.map(({ path, digest }) => [`${name}/${path}`, digest.hex]));
      return Object.fromEntries(keys.map((key) => [key, digests.get(key) ?? null]));
    },
  };
}

/** The manifest in a commit; null: there is none, or it is damaged or not Roslin's, so that nothing in it counts. */
async function manifestIn(repository: HubRepository, { commit, files }: HubCommit): Promise<{ manifest: Manifest; bytes: Buffer } | null> {
  if (!files.some(({ path }) => path === MANIFEST)) return null;
  const bytes = await repository.read(commit, MANIFEST);
  const manifest = readableManifest(bytes, `${repository.id}@${commit}/${MANIFEST}`);
  return manifest === null ? null : { manifest, bytes };
}

/** Throws ChangedInputError if main holds neither the live model that a model was compared with nor that model itself. */
async function checkMainStill(repository: HubRepository, main: HubCommit | null, name: string, compared: Going["compared"]): Promise<void> {
  if (compared === null) return;
  const live = main === null ? null : await manifestIn(repository, main);
  if (live !== null && (live.manifest.name === name || sha256(live.bytes) === compared.manifest)) return;
  throw new ChangedInputError(
    "main holds another model than the one that this one was compared with: run `roslin stage evaluate` again, which compares with that one",
    { compared: compared.manifest, got: live === null ? "none" : sha256(live.bytes) },
  );
}

/** As `adopt` of a bucket: several runs may come to the same model, and only their cards differ. */
async function adoptOnHub(
  repository: HubRepository,
  made: Manifest,
  directory: string,
  say: (note: string) => void,
): Promise<{ readonly manifest: Manifest; readonly claimed: number }> {
  const withoutCard = (manifest: Manifest): Manifest => ({ ...manifest, files: manifest.files.filter(({ name }) => name !== CARD) });
  const cardOf = ({ files }: Manifest): string | undefined => files.find(({ name }) => name === CARD)?.sha256;
  // before its tag was made, main alone has it
  for (const revision of [made.name, MAIN]) {
    const there = await repository.at(revision);
    const found = there === null ? null : await manifestIn(repository, there);
    if (found === null || !isDeepStrictEqual(withoutCard(found.manifest), withoutCard(made))) continue;
    if (cardOf(found.manifest) !== cardOf(made)) {
      const card = await repository.read(there!.commit, CARD);
      if (sha256(card) !== cardOf(found.manifest)) continue;
      say(`${made.name} is published already, or at this moment: it keeps its card, which tells of the run that came first`);
      await writeFileAtomic(join(directory, CARD), card);
    }
    await writeFileAtomic(join(directory, MANIFEST), found.bytes);
    return { manifest: found.manifest, claimed: 0 };
  }
  return { manifest: made, claimed: 0 };
}

async function sendToHub(
  repository: HubRepository,
  target: string,
  { manifest, paths, digests, signed }: SignedModel,
  { opens: passed, compared }: Going,
  directory: string,
  context: StageContext,
): Promise<Sent | null> {
  const { name } = manifest;
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const say = (note: string): void => context.progress({ stage: "publish", done: bytes, total: bytes, unit: "bytes", note, lasting: true });
  // the card may be another run's, and lies with its manifest in the stage's directory
  const wanted = new Map(
    [...manifest.files.map(({ name }) => name), ...signed.keys(), MANIFEST].map((name) => [name, paths.get(name) ?? join(directory, name)]),
  );
  const hexOf = async (name: string, path: string): Promise<string> => {
    const known = manifest.files.find((file) => file.name === name)?.sha256;
    return known !== undefined && digests.has(known) ? known : (await digestFile(path, context.signal)).sha256;
  };
  const sha256s = new Map<string, string>();
  for (const [name, path] of wanted) sha256s.set(name, await hexOf(name, path));

  const refs = (await repository.refs()) ?? (await made(repository));
  const main = await repository.at(MAIN);
  if (main === null)
    throw new UserError("the repository has no branch main, which holds what is live: make it on the repository's page", { target });
  const ended = (commit: string, sent: number, live: boolean): Sent => ({ uri: `${target}@${commit}`, bytes, sent, live });

  const own = refs.tags.has(name) || refs.branches.has(name) ? await repository.at(name) : null;
  const isWhole = own !== null && (await changesOf(own, wanted, sha256s, context.signal)).isNone;
  if (own !== null && isWhole && refs.tags.has(name)) {
    const live = await manifestIn(repository, main);
    if (live !== null && live.manifest.name !== name) say(`main has moved on from ${name} to ${live.manifest.name}, and stays there`);
    if (live !== null) return ended(own.commit, 0, live.manifest.name === name);
  }
  if (own !== null && isWhole && !passed) return ended(own.commit, 0, false);

  // a run that was killed before it could tag its commit, and was overtaken
  const title = `Publish ${name}`;
  const earlier = passed && own === null ? (await repository.commits(MAIN)).find((commit) => commit.title === title) : undefined;
  const past = earlier === undefined || earlier.id === main.commit ? null : await repository.at(earlier.id);
  if (past !== null && (await changesOf(past, wanted, sha256s, context.signal)).isNone && (await manifestIn(repository, main)) !== null) {
    say(`main has moved on from ${name}, and stays there`);
    await repository.tag(name, past.commit);
    return ended(past.commit, 0, false);
  }

  if (passed) await checkMainStill(repository, main, name, compared);
  const onBranch = !passed && refs.branches.has(name) && own !== null ? own : main;
  if (!passed && onBranch === main && !(await repository.branch(name, main.commit))) return null;
  const written = await commitOnce(repository, onBranch, passed ? MAIN : name, { title, wanted, sha256s, bytes }, context);
  if (written === null) return null;
  const { commit, sent } = written;
  if (!passed) {
    say(`the gate was not passed: ${name} is on a branch of its name, and main stays`);
    return ended(commit, sent, false);
  }
  // a branch of this name is from when the gate had not been passed; a tag names other bytes, or a commit that main has left
  if (refs.branches.has(name)) await repository.removeBranch(name);
  if (refs.tags.has(name) && own?.commit !== commit) await repository.removeTag(name);
  if (!(await repository.tag(name, commit)) && (await repository.at(name))?.commit !== commit) return null;
  return ended(commit, sent, true);
}

async function made(repository: HubRepository): Promise<NonNullable<Awaited<ReturnType<HubRepository["refs"]>>>> {
  await repository.create();
  const refs = await repository.refs();
  if (refs === null)
    throw new UserError("the hub has made a repository that it does not show: check the rights of HF_TOKEN", { repository: repository.id });
  return refs;
}

/** What a commit has to change so that these files, and no others, are there. */
async function changesOf(
  { files }: HubCommit,
  wanted: ReadonlyMap<string, string>,
  sha256s: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<{ readonly files: ReadonlyMap<string, string>; readonly removed: readonly string[]; readonly isNone: boolean }> {
  const there = new Map(files.map((file) => [file.path, file]));
  const changed = new Map<string, string>();
  for (const [name, path] of wanted) {
    const digest = there.get(name)?.digest;
    const got = digest === undefined ? null : digest.kind === "git" ? await gitBlobId(path, signal) : sha256s.get(name);
    if (got !== digest?.hex) changed.set(name, path);
  }
  const removed = [...there.keys()].filter((path) => path !== ATTRIBUTES && !wanted.has(path));
  return { files: changed, removed, isNone: changed.size === 0 && removed.length === 0 };
}

/** The files as one commit after `parent`, unless it holds them already; null: the branch has moved meanwhile. */
async function commitOnce(
  repository: HubRepository,
  parent: HubCommit,
  branch: string,
  {
    title,
    wanted,
    sha256s,
    bytes,
  }: Readonly<{ title: string; wanted: ReadonlyMap<string, string>; sha256s: ReadonlyMap<string, string>; bytes: number }>,
  context: StageContext,
): Promise<{ readonly commit: string; readonly sent: number } | null> {
  const { files, removed, isNone } = await changesOf(parent, wanted, sha256s, context.signal);
  if (isNone) return { commit: parent.commit, sent: 0 };
  const sizes = new Map<string, number>();
  for (const [name, path] of files) sizes.set(name, (await stat(path)).size);
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
    const change = { branch, parent: parent.commit, title, description: `${MANIFEST}: sha256 ${sha256s.get(MANIFEST)}`, files, removed };
    const commit = await repository.commit(change, (path, share) => {
      if (!shares.has(path) && share === 1) kept += sizes.get(path)!;
      shares.set(path, share);
      note = path;
    });
    if (commit === null) return null;
    const now = await repository.at(commit);
    if (now === null || !(await changesOf(now, wanted, sha256s, context.signal)).isNone)
      throw new CorruptError("the hub's commit does not hold what was sent: publish again", { repository: repository.id, commit });
    return { commit, sent: total - kept };
  } finally {
    clearInterval(ticking);
  }
}
