import { spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { UserError } from "../core/errors.js";
import { median, megabytes, short, table } from "./figures.js";
import { SIZES } from "./job.js";
import { makeInputs } from "./made.js";

/** Compares downloads from a hub on this machine with those of other clients: whole processes, in turns. */

/** Names of the repositories on the bench's hub: one file, and many. */
const PLACES = ["one", "many"] as const;
const MIB = 2 ** 20;
/** Bytes of each file in the repository of many: 512 MiB together; some are large enough for storage apart from git, most are small. */
const MANY = Array.from({ length: 40 }, (_, index) => (index % 5 === 0 ? 56 : 2) * MIB);
const WATCH_MS = 50;

/** One client's downloads of one repository, or its uploads. */
export interface ClientFigures {
  readonly name: string;
  /** seconds of the whole process in each round */
  readonly seconds: readonly number[];
  /** peak of the first process's resident memory, bytes; 0 if the system does not tell */
  readonly memory: number;
}

/** All clients' downloads of one repository, ours first. */
export interface DownloadFigures {
  readonly place: (typeof PLACES)[number];
  readonly files: number;
  readonly bytes: number;
  readonly clients: readonly ClientFigures[];
}

interface Client {
  readonly name: string;
  readonly places: readonly string[];
  /** the command that downloads a place into `directory` */
  command(place: string, directory: string): readonly [command: string, ...args: string[]];
}

/**
 * Downloads one file of `gib` GiB, and a repository of many files, with each client in turn. `python`: an interpreter with
 * huggingface_hub, or null. Throws UserError if a client fails.
 */
export async function benchDownload(
  options: { readonly gib: number; readonly rounds: number; readonly python: string | null },
  variables: Readonly<Record<string, string | undefined>>,
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<DownloadFigures[]> {
  say("making files");
  const files = { one: [options.gib * 1024 * MIB], many: MANY };
  for (const place of PLACES) await makeRepository(join(root, "hub/datasets/bench", place), files[place]);
  const [model] = await makeInputs({ ...SIZES["5"]!, layers: 1 }, 1, root, signal);
  const hub = spawn(process.execPath, [join(import.meta.dirname, "../demo/hub/main.js"), join(root, "hub"), "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const url = String((await createInterface({ input: hub.stdout })[Symbol.asyncIterator]().next()).value);
    // the hub digests its files at the first request
    for (const place of PLACES) await (await fetch(`${url}/api/datasets/bench/${place}`, { signal })).text();
    const clients = [await ours(root, model!.uri), ...curls(url), ...(options.python === null ? [] : [pythonClient(options.python)])];
    const figures = [];
    for (const place of PLACES) {
      const taking = clients.filter(({ places }) => places.includes(place));
      const runs = taking.map(({ name }) => ({ name, seconds: [] as number[], memory: 0 }));
      for (let round = 1; round <= options.rounds; round++)
        for (const [index, client] of taking.entries()) {
          const directory = join(root, "download");
          const env = { ...variables, HF_ENDPOINT: url, HF_HOME: join(directory, "cache"), HF_TOKEN: "", NO_PROXY: "*", no_proxy: "*" };
          await mkdir(directory);
          const { seconds, memory } = await timed(client.command(place, directory), env, signal);
          await rm(directory, { recursive: true });
          runs[index]!.seconds.push(seconds);
          runs[index]!.memory = Math.max(runs[index]!.memory, memory);
          say(`${place}, round ${round}: ${client.name} ${short(seconds)} s`);
        }
      const bytes = files[place].reduce((sum, size) => sum + size, 0);
      figures.push({ place, files: files[place].length, bytes, clients: runs });
    }
    return figures;
  } finally {
    const ended = once(hub, "exit");
    if (hub.kill()) await ended;
  }
}

async function makeRepository(directory: string, sizes: readonly number[]): Promise<void> {
  await mkdir(directory, { recursive: true });
  const block = randomFillSync(Buffer.alloc(MIB));
  for (const [index, bytes] of sizes.entries()) {
    const file = await open(join(directory, `rows-${index}.json`), "w");
    block.writeUInt32LE(index);
    for (let written = 0; written < bytes; written += MIB) await file.write(block);
    // otherwise the disk would still be busy with it when the first client starts
    await file.sync();
    await file.close();
  }
}

/** `roslin stage download`, with a model that lies on this machine. */
async function ours(root: string, model: string): Promise<Client> {
  const config = (place: string): string => join(root, `${place}.json`);
  for (const place of PLACES)
    await writeFile(config(place), JSON.stringify({ model: { source: model }, dataset: { source: `hf://bench/${place}` } }));
  const roslin = join(import.meta.dirname, "../../bin/roslin.js");
  return {
    name: "roslin",
    places: PLACES,
    command: (place, directory) => [process.execPath, roslin, "stage", "download", "--config", config(place), "--dir", directory],
  };
}

/** curl for the single file: alone, with the digest that Roslin makes too, and with the file forced to disk as well, as Roslin does. */
function curls(hub: string): Client[] {
  const get = `curl -sSf --noproxy '*' -o "$0/file" ${hub}/datasets/bench/one/resolve/main/rows-0.json`;
  return ["", ' && sha256sum "$0/file"', ' && sha256sum "$0/file" && sync "$0/file"'].map((after) => ({
    name: `curl${after.replaceAll(' "$0/file"', "").replaceAll(" &&", ",")}`,
    places: ["one"],
    command: (_, directory) => ["sh", "-c", get + after, directory],
  }));
}

function pythonClient(python: string): Client {
  const script = "import sys; from huggingface_hub import snapshot_download; snapshot_download(sys.argv[1], repo_type='dataset')";
  return { name: "huggingface_hub", places: PLACES, command: (place) => [python, "-c", script, `bench/${place}`] };
}

/** Runs a process to its end. Resolves to its seconds and its peak resident memory in bytes. Throws UserError if it fails. */
export async function timed(
  [command, ...args]: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<{ readonly seconds: number; readonly memory: number }> {
  const started = performance.now();
  const child = spawn(command, args, { env, signal, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-2000)));
  let memory = 0;
  const watching = setInterval(() => void residentPeak(child.pid).then((peak) => (memory = Math.max(memory, peak))), WATCH_MS);
  try {
    const [code] = (await once(child, "close")) as [number | null];
    const seconds = (performance.now() - started) / 1000;
    if (code !== 0) throw new UserError("a client failed", { command, code, said: said.trim() });
    return { seconds, memory };
  } finally {
    clearInterval(watching);
  }
}

async function residentPeak(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** The figures as a table for each repository. */
export function showDownload(figures: readonly DownloadFigures[]): string {
  return figures.map(({ files, bytes, clients }) => showClients(files === 1 ? "1 file" : `${files} files`, bytes, clients)).join("\n\n");
}

/** A table of what clients took for the same bytes. `against ours`: the median divided by that of the first client, which is ours. */
export function showClients(what: string, bytes: number, clients: readonly ClientFigures[]): string {
  const ours = median(clients[0]!.seconds);
  const rows = clients.map(({ name, seconds, memory }) => [
    name,
    `${short(median(seconds))} s`,
    `${short(Math.min(...seconds))} to ${short(Math.max(...seconds))} s`,
    `${megabytes(bytes / median(seconds))} MB/s`,
    `${short(median(seconds) / ours)} x`,
    name.startsWith("curl") ? "" : `${megabytes(memory)} MB`,
  ]);
  return table([[`${what}, ${megabytes(bytes)} MB`, "median", "all", "a second", "against ours", "memory"], ...rows]);
}
