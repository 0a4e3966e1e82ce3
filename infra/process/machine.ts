import { createHash } from "node:crypto";
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { arch, cpus, freemem, platform, tmpdir, totalmem } from "node:os";
import { join } from "node:path";

/** What this machine is and has. */

/** Bytes of memory that this process may ever have: a container's limit, or all that there is. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Bytes of memory that a new process can take without pushing others out. */
export function availableMemory(): number {
  const found = existsSync("/proc/meminfo") ? /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8")) : null;
  return Math.min(memoryLimit(), cgroupRoom(), found === null ? freemem() : Number(found[1]) * 1024);
}

/** Where the kernel's two versions of control groups keep a group's limit and use, and what of that is files' cache. */
const CGROUPS = [
  { line: /^0::(.*)$/m, below: "", limit: "memory.max", used: "memory.current", cache: /^(?:in)?active_file (\d+)$/gm },
  {
    line: /^\d+:[^:]*\bmemory\b[^:]*:(.*)$/m,
    below: "memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: /^total_(?:in)?active_file (\d+)$/gm,
  },
];

/**
 * Bytes that this process' control group, and each one around it, still allow; Infinity where none has a limit. What they
 * use includes what is cached of files, which the kernel gives back, and shared memory, which it does not.
 */
export function cgroupRoom(root: string = "/sys/fs/cgroup", own: string = "/proc/self/cgroup"): number {
  if (!existsSync(own)) return Infinity;
  const groups = readFileSync(own, "utf8");
  return Math.min(
    ...CGROUPS.flatMap(({ line, below, limit, used, cache }) => {
      const parts =
        line
          .exec(groups)?.[1]!
          .split("/")
          .filter((part) => part !== "") ?? [];
      return Array.from({ length: parts.length + 1 }, (_, depth): number => {
        const group = join(root, below, ...parts.slice(0, depth));
        // a container sees its own group as the root, and none at the name that the host has for it
        if (![limit, used, "memory.stat"].every((file) => existsSync(join(group, file)))) return Infinity;
        const read = (file: string): string => readFileSync(join(group, file), "utf8");
        const cached = [...read("memory.stat").matchAll(cache)].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
        const most = read(limit).trim();
        return most === "max" ? Infinity : Math.max(0, Number(most) - Number(read(used)) + cached);
      });
    }),
  );
}

/** Free bytes on the disk that holds a directory. */
export function freeDisk(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** Where the workers' shared memory goes: /dev/shm when there is room for it, as there always is for none, else the directory given. */
export function sharedDirectory(bytes: number, otherwise: string, shm: string = "/dev/shm"): string {
  return existsSync(shm) && freeDisk(shm) >= bytes * 1.05 ? shm : otherwise;
}

/** The longest path of a directory for sockets: the system cuts a socket's whole path at about a hundred bytes, without a word. */
const MAX_SOCKET_DIRECTORY = 64;

/** Where sockets go: the first of these directories that is there and whose path is short enough; else the last. */
export function socketDirectory(candidates: readonly string[] = [tmpdir(), "/tmp"]): string {
  const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_DIRECTORY && existsSync(path);
  return candidates.find(fits) ?? candidates.at(-1)!;
}

/** The kind of this machine, as far as the bits of a result depend on it: equal kinds, with equal engines, promise equal bytes. */
export function machineKind(): { readonly platform: string; readonly cpu: string; readonly node: string } {
  const info = existsSync("/proc/cpuinfo") ? readFileSync("/proc/cpuinfo", "utf8") : "";
  const features = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1] ?? cpus()[0]?.model ?? "unknown";
  return {
    platform: `${platform()}-${arch()}`,
    cpu: createHash("sha256").update(features.split(" ").sort().join(" ")).digest("hex").slice(0, 16),
    node: process.version,
  };
}
