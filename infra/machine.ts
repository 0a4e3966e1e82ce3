import { createHash } from "node:crypto";
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { arch, cpus, freemem, platform, totalmem } from "node:os";
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
