import { execFile } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";
import { promisify } from "node:util";

/** The TCP ports at which the processes of a group listen. */
export async function listeningPorts(group: number): Promise<ReadonlySet<number>> {
  return process.platform === "linux" ? portsByProc(group) : portsByLsof(group);
}

/** By the kernel's table of sockets, and the group's open files that are in it. */
async function portsByProc(group: number): Promise<Set<number>> {
  const tables = await Promise.all(["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")));
  const ports = new Map<string, number>();
  for (const line of tables.flatMap((table) => table.split("\n").slice(1))) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === "0A") ports.set(`socket:[${inode}]`, Number.parseInt(local!.split(":")[1]!, 16));
  }
  const found = new Set<number>();
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    // a process may end meanwhile
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    if (stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2] !== `${group}`) continue;
    const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const file of files) {
      const port = ports.get(await readlink(`/proc/${pid}/fd/${file}`).catch(() => ""));
      if (port !== undefined) found.add(port);
    }
  }
  return found;
}

/** On macOS, which has no /proc. */
async function portsByLsof(group: number): Promise<Set<number>> {
  const args = ["-nP", "-a", "-g", `${group}`, "-iTCP", "-sTCP:LISTEN", "-Fn"];
  // it fails if there are no such sockets
  const { stdout } = await promisify(execFile)("lsof", args).catch(() => ({ stdout: "" }));
  return new Set([...stdout.matchAll(/^n.*:(\d+)$/gm)].map(([, port]) => Number(port)));
}
