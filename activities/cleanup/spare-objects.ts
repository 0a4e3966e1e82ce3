import { lstat, readdir, readlink, rm, stat } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { parseSource } from "../../core/config/source-ref.js";
import { forecast } from "../forecast/forecast.js";
import { tryLock, type Garbage, type KeptRun } from "./garbage.js";

/** An object from a bucket that no download links to any more, with the files beside it: half fetched, damaged, or about it. */
export interface SpareObject {
  /** where it lies, or would when it is whole */
  readonly blob: string;
  readonly files: readonly string[];
  readonly bytes: number;
}

/** Endings of files beside a blob: of its fetching, of a copy with another digest, and of its own digest. */
const BESIDE = /\.(part|part\.journal|part\.lock|bad|sha256)$/;

/**
 * The objects in `cache` that no directory links to, not counting the directories of `garbage`. None while one of these runs
 * has yet to fetch something from a bucket, because that may be among them.
 */
export async function findSpareObjects(
  cache: string,
  root: string,
  garbage: readonly Garbage[],
  runs: readonly KeptRun[],
): Promise<SpareObject[]> {
  if (await isFetching(root, runs)) return [];
  const goes = (path: string): boolean => garbage.some((each) => path.startsWith(each.directory + sep));
  // links are counted by the file system; only a cache on another disk has symbolic ones
  const going = new Map<number, number>();
  const pointed = new Set<string>();
  for (const key of await readdir(join(root, "download")).catch(() => [])) {
    const directory = join(root, "download", key);
    for (const path of await filesBelow(directory)) {
      const { ino } = await lstat(path);
      if (goes(path)) going.set(ino, (going.get(ino) ?? 0) + 1);
      else
        await readlink(path)
          .then((target) => pointed.add(resolve(dirname(path), target)))
          .catch(() => undefined);
    }
  }
  const isUsed = async (blob: string): Promise<boolean> => {
    const { nlink, ino } = (await stat(blob).catch(() => null)) ?? { nlink: 0, ino: 0 };
    return nlink - (going.get(ino) ?? 0) > 1 || pointed.has(blob);
  };
  const spare = new Map<string, { files: string[]; bytes: number }>();
  for (const name of await readdir(cache).catch(() => [])) {
    const path = join(cache, name);
    const blob = path.replace(BESIDE, "");
    const { size, blocks } = await stat(path);
    if ((path === blob || path.endsWith(".sha256")) && (await isUsed(blob))) continue;
    const entry = spare.get(blob) ?? { files: [], bytes: 0 };
    // half a file is as long as the whole, with holes
    spare.set(blob, { files: [...entry.files, path], bytes: entry.bytes + (path === blob ? size : Math.min(size, blocks * 512)) });
  }
  return [...spare].map(([blob, { files, bytes }]) => ({ blob, files: files.sort(), bytes })).sort((a, b) => (a.blob < b.blob ? -1 : 1));
}

/** Removes an object unless it is being fetched, has a link by now, or a run that `runs` now names may need it; resolves to the reason if it stays. */
export async function removeSpareObject(
  root: string,
  { blob, files }: SpareObject,
  runs: () => Promise<readonly KeptRun[]>,
): Promise<string | null> {
  return await tryLock(`${blob}.part.lock`, async () => {
    if (await isFetching(root, await runs())) return "a run that has begun since may need it";
    if (((await stat(blob).catch(() => null))?.nlink ?? 1) > 1) return "it is in use";
    for (const path of files) await rm(path, { force: true });
    return null;
  });
}

/** Whether a run has yet to bring something from a bucket. */
async function isFetching(root: string, runs: readonly KeptRun[]): Promise<boolean> {
  const fromBuckets = runs.filter(({ config: { model, dataset } }) =>
    [model, dataset].some(({ source }) => parseSource(source).kind === "s3"),
  );
  const forecasts = await Promise.all(fromBuckets.map(({ config }) => forecast(config, root)));
  return fromBuckets.some(isDownloading) || forecasts.some(([download]) => !download!.reused);
}

/** Whether a run has begun no later stage yet, and so may fetch something else than an earlier download left. */
function isDownloading({ begun }: KeptRun): boolean {
  return begun !== null && (begun.at(-1)?.inputs ?? []).length === 0;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}
