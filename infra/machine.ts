import { createHash } from "node:crypto";
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { arch, cpus, freemem, platform, tmpdir, totalmem } from "node:os";
import { createRequire } from "node:module";

/** What this machine is and has. */

/** Bytes of memory that this process may ever have: a container's limit, or all that there is. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Bytes of memory that a new process can take without pushing others out. */
export function availableMemory(): number {
  const found = existsSync("/proc/meminfo") ? /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8")) : null;
  return Math.min(memoryLimit(), found === null ? freemem() : Number(found[1]) * 1024);
}

/** Free bytes on the disk that holds a directory. */
export function freeDisk(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** Where the workers' shared memory goes: /dev/shm when there is room for it, else the directory given. */
export function sharedDirectory(bytes: number, otherwise: string): string {
  const shm = "/dev/shm";
  return existsSync(shm) && freeDisk(shm) > bytes * 1.05 ? shm : otherwise;
}

/** The longest path of a directory for sockets: the system cuts a socket's whole path at about a hundred bytes, without a word. */
const MAX_SOCKET_DIRECTORY = 64;

/** Where sockets go: the first of these directories that is there and whose path is short enough; else the last. */
export function socketDirectory(candidates: readonly string[] = [tmpdir(), "/tmp"]): string {
  const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_DIRECTORY && existsSync(path);
  return candidates.find(fits) ?? candidates.at(-1)!;
}

/** What the bits of a result depend on besides its inputs: equal fingerprints promise equal bytes. */
export function fingerprint(): { platform: string; cpu: string; node: string; onnxruntime: string; threadsPerRank: number } {
  const info = existsSync("/proc/cpuinfo") ? readFileSync("/proc/cpuinfo", "utf8") : "";
  const features = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1] ?? cpus()[0]?.model ?? "unknown";
  const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json") as { version: string };
  return {
    platform: `${platform()}-${arch()}`,
    cpu: createHash("sha256").update(features.split(" ").sort().join(" ")).digest("hex").slice(0, 16),
    node: process.version,
    onnxruntime: version,
    threadsPerRank: 1,
  };
}
