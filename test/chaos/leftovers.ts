import { readdirSync, readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import { attemptPrefix } from "../../activities/train/run/leftovers.js";
import type { UpState } from "../../cli/machine/up-state.js";
import { isFree } from "../../infra/servers/ports.js";

/** Milliseconds that the last files, uploads and processes may take to go. */
const PATIENCE_MS = 60_000;

/** What a finished run has left although it should not: unfinished files, shared memory, sockets, uploads. */
export async function leftByRun(home: string, s3: NonNullable<UpState["s3"]>): Promise<string[]> {
  return patiently(async () => [...(await halfFiles(home)), ...(await attemptFiles(home)), ...(await uploads(s3))]);
}

/** What a run has left on this machine although it should not, however it ended: files that were being written, shared memory, sockets. */
export async function leftInHome(home: string): Promise<string[]> {
  return patiently(async () => [...(await temporaryFiles(home)), ...(await attemptFiles(home))]);
}

/** What a cancelled run has left although it should not. Files that it can continue from, such as parts of downloads, may stay. */
export async function leftByCancelled(home: string, s3: NonNullable<UpState["s3"]>): Promise<string[]> {
  return patiently(async () => [...(await temporaryFiles(home)), ...(await attemptFiles(home)), ...(await uploads(s3))]);
}

/** What a stopped machine has left: processes of its home, ports, sockets. */
export async function leftByMachine(home: string): Promise<string[]> {
  const ports = Object.entries(JSON.parse(await readFile(join(home, "ports.json"), "utf8")) as Record<string, number>);
  return patiently(async () => {
    const taken = await Promise.all(ports.map(async ([name, port]) => ((await isFree(port)) ? [] : [`port ${port} (${name})`])));
    const sockets = readdirSync("/tmp").filter((name) => ports.some(([, port]) => new RegExp(`^seaweedfs-.*-${port}\\.sock$`).test(name)));
    return [...processesOf(home), ...taken.flat(), ...sockets, ...(await attemptFiles(home))];
  });
}

async function patiently(look: () => Promise<string[]>): Promise<string[]> {
  const limit = Date.now() + PATIENCE_MS;
  let left = await look();
  while (left.length > 0 && Date.now() < limit) {
    await sleep(200);
    left = await look();
  }
  return left;
}

async function halfFiles(home: string): Promise<string[]> {
  const names = await Promise.all(["stages", "hub-cache"].map((place) => readdir(join(home, place), { recursive: true }).catch(() => [])));
  return names.flat().filter((name) => /\.(tmp|part)$/.test(name));
}

async function temporaryFiles(home: string): Promise<string[]> {
  return (await halfFiles(home)).filter((name) => name.endsWith(".tmp"));
}

async function attemptFiles(home: string): Promise<string[]> {
  const root = join(home, "stages", "train");
  const prefixes = (await readdir(root).catch(() => [])).map((key) => attemptPrefix(join(root, key)));
  return ["/dev/shm", tmpdir()].flatMap((place) =>
    readdirSync(place)
      .filter((name) => prefixes.some((prefix) => name.startsWith(prefix)))
      .map((name) => join(place, name)),
  );
}

async function uploads({ endpoint, region, accessKeyId, secretAccessKey }: NonNullable<UpState["s3"]>): Promise<string[]> {
  const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  try {
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: "roslin" }));
    return Uploads.map(({ Key }) => `multipart upload of ${Key}`);
  } finally {
    client.destroy();
  }
}

/** Processes whose environment names the home. */
function processesOf(home: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && name !== `${process.pid}`)
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, "utf8").includes(`ROSLIN_HOME=${home}\0`)) return [];
        return [`process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").slice(0, 100)}`];
      } catch {
        return [];
      }
    });
}
