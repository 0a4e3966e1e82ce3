import { existsSync } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { CorruptError, UserError } from "../../core/errors.js";
import type { Artifact } from "../../core/stages/results.js";
import { directoryDigest, listFiles, sha256File } from "../../infra/disk/files.js";
import type { SharedFiles } from "../../infra/sources/shared-files.js";
import { readAll } from "../../infra/store/store.js";
import { finishedStage, RESULT, WANTED } from "./stage.js";

/** How the outputs of stages come from one machine of a run to another: through the store that they share. */

/** Where outputs of other machines' stages lie, below the directory of all stages. */
export const SHARED = "shared";

/** The name of the directory with a copy of an output. */
export function copyName({ sha256 }: Pick<Artifact, "sha256">): string {
  return sha256.slice(0, 32);
}

/** Whether a directory below SHARED has a copy. */
export function isCopy(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

/** What the store says of an output, written after its files. */
interface Listing {
  /** the output's own file name; its files are `<base>`, or `<base>/<name>` */
  readonly base: string;
  /** with what the stage that made it recorded beside it */
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
}

const below = ({ sha256 }: Artifact): string => `artifacts/${sha256}`;
const listing = (artifact: Artifact): string => `${below(artifact)}.json`;

/** Sends outputs that lie on this machine, with the records beside them, unless the store has them. */
export async function shareArtifacts(shared: SharedFiles, artifacts: readonly Artifact[], signal: AbortSignal): Promise<void> {
  for (const artifact of artifacts) {
    if (!artifact.uri.startsWith("file:") || (await readAll(shared.store, listing(artifact))) !== null) continue;
    const path = fileURLToPath(artifact.uri);
    const base = basename(path);
    const own = (await stat(path)).isDirectory() ? (await listFiles(path)).map((name) => `${base}/${name}`) : [base];
    const beside = [RESULT, WANTED].filter((name) => existsSync(join(dirname(path), name)));
    const files = [];
    for (const name of [...own, ...beside]) {
      const file = join(dirname(path), name);
      files.push({ name, bytes: (await stat(file)).size, sha256: await sha256File(file, signal) });
      await shared.put(`${below(artifact)}/${name}`, file);
    }
    await shared.store.write(listing(artifact), Buffer.from(JSON.stringify({ base, files } satisfies Listing)));
  }
}

/**
 * Outputs of earlier stages as they lie on this machine: those that a stage here has made, and the others fetched below
 * `root`, where all stages of this machine work. Throws UserError for one that the store lacks, CorruptError for a wrong list.
 */
export async function localArtifacts(shared: SharedFiles, root: string, artifacts: readonly Artifact[]): Promise<Artifact[]> {
  const local: Artifact[] = [];
  for (const artifact of artifacts)
    local.push(!artifact.uri.startsWith("file:") || (await isMadeHere(root, artifact)) ? artifact : await fetched(shared, root, artifact));
  return local;
}

/** Another machine may have the same paths: a stage that finished here says what it left. */
async function isMadeHere(root: string, { uri, sha256 }: Artifact): Promise<boolean> {
  const path = fileURLToPath(uri);
  if (!path.startsWith(`${root}/`) || !existsSync(path)) return false;
  return (await finishedStage(dirname(path)))?.outputs.some((output) => output.uri === uri && output.sha256 === sha256) ?? false;
}

/** The digest of an output by the list of its files. */
function digestIn(files: Listing["files"], base: string): string {
  const single = files.find(({ name }) => name === base);
  if (single !== undefined) return single.sha256;
  const own = files.filter(({ name }) => name.startsWith(`${base}/`));
  return directoryDigest(own.map(({ name, sha256 }) => ({ name: name.slice(base.length + 1), sha256 })));
}

async function fetched(shared: SharedFiles, root: string, artifact: Artifact): Promise<Artifact> {
  const bytes = await readAll(shared.store, listing(artifact));
  if (bytes === null)
    throw new UserError("an earlier stage's output lies on another machine, and the shared store does not have it: start the run again", {
      output: artifact.name,
      uri: artifact.uri,
      store: shared.store.uri,
    });
  const { base, files } = JSON.parse(bytes.toString("utf8")) as Listing;
  const got = digestIn(files, base);
  if (got !== artifact.sha256)
    throw new CorruptError("the shared store's list of an output's files is not that of the output", {
      store: shared.store.uri,
      key: listing(artifact),
      expected: artifact.sha256,
      got,
    });
  const directory = join(root, SHARED, copyName(artifact));
  for (const { name } of files)
    if (/(^|\/)(\.\.?)?(\/|$)|\\|\0/.test(name)) throw new UserError("a shared file's name leaves its directory", { got: name });
  await mkdir(directory, { recursive: true });
  await shared.fetch(files.map((file) => ({ ...file, key: `${below(artifact)}/${file.name}`, path: join(directory, file.name) })));
  return { ...artifact, uri: pathToFileURL(join(directory, base)).href };
}
