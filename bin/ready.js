// Finds out what of a checkout is stale, and installs and builds that. Plain JavaScript without dependencies: it runs before there are any.
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const PLATFORMS = ["linux-x64", "linux-arm64", "darwin-arm64"];

/** Installs and builds what is stale, one caller at a time; `say` hears what takes a while. Throws an Error of one line. */
export async function makeReady(root, say) {
  refuseUnsupported(process.platform, process.arch);
  if (!isStale(root)) return;
  const unlock = await lock(join(root, "dist", ".setup.lock"), say);
  try {
    if (staleDependencies(readJson(join(root, "package-lock.json")), readJson(join(root, "node_modules", ".package-lock.json"))) !== null) {
      refuseMusl();
      say("installing dependencies (npm ci)");
      await run("npm", ["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund"], root);
    }
    const digest = sourcesDigest(root);
    if (staleBuild(root, digest)) {
      say("building");
      rmSync(stampFile(root), { force: true });
      await run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "--project", root], root);
      for (const file of orphans(root)) rmSync(file);
      await run(process.execPath, [join(root, "dist", "workers", "bundle.js")], root);
      writeFileSync(stampFile(root), digest);
    }
  } finally {
    unlock();
  }
}

function isStale(root) {
  const installed =
    staleDependencies(readJson(join(root, "package-lock.json")), readJson(join(root, "node_modules", ".package-lock.json"))) === null;
  return !installed || staleBuild(root, sourcesDigest(root));
}

/** Throws on a platform for which there are no binaries. */
export function refuseUnsupported(platform, arch) {
  if (platform === "win32") throw new Error("Windows is supported through WSL 2: install it and run roslin there");
  if (!PLATFORMS.includes(`${platform}-${arch}`))
    throw new Error(`${platform} on ${arch} is not supported; use Linux with glibc on x64 or arm64, or macOS on arm64`);
}

function refuseMusl() {
  if (process.platform !== "linux") return;
  process.report.excludeNetwork = true;
  if (process.report.getReport().header.glibcVersionRuntime === undefined)
    throw new Error("this Linux has no glibc (Alpine and other musl systems are not supported); use Debian, Ubuntu, Fedora or the like");
}

/**
 * Why node_modules is not what package-lock.json asks for, or null when it is. npm leaves its own record of what it
 * installed, written last; packages for other platforms may be missing from it.
 */
export function staleDependencies(wanted, installed, platform = process.platform, arch = process.arch) {
  if (installed === null) return "nothing is installed";
  const fits = (list, value) => list === undefined || list.includes(value);
  for (const [path, entry] of Object.entries(wanted.packages)) {
    if (path === "") continue;
    const found = installed.packages[path];
    if (found === undefined) {
      const native = entry.os !== undefined && fits(entry.os, platform) && fits(entry.cpu, arch) && fits(entry.libc, "glibc");
      if (entry.optional === true && !native) continue;
      return `${path} is missing`;
    }
    if (found.version !== entry.version || found.integrity !== entry.integrity) return `${path} has another version`;
  }
  return null;
}

function staleBuild(root, digest) {
  if (!existsSync(join(root, "dist", "cli", "main.js")) || !existsSync(join(root, "dist", "workflow-bundle.js"))) return true;
  return !existsSync(stampFile(root)) || readFileSync(stampFile(root), "utf8") !== digest;
}

/** Digest of everything that the build depends on: settings, locked dependencies, and each source's name and bytes. */
export function sourcesDigest(root) {
  const hash = createHash("sha256");
  for (const file of ["package-lock.json", "tsconfig.json", ...sources(root)]) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

/** Relative paths of the TypeScript sources, in order: those below the folders that tsconfig.json includes. */
function sources(root) {
  return sourceFolders(root)
    .flatMap((folder) => walk(join(root, folder)))
    .filter((file) => file.endsWith(".ts"))
    .map((file) => relative(root, file))
    .sort();
}

function sourceFolders(root) {
  return [.../"include":\s*\[([^\]]*)\]/.exec(readFileSync(join(root, "tsconfig.json"), "utf8"))[1].matchAll(/"([^"]+)"/g)].map(
    (match) => match[1],
  );
}

/** Compiled files whose source is gone: a deleted test must not go on running. */
export function orphans(root) {
  const dist = join(root, "dist");
  return sourceFolders(root)
    .flatMap((folder) => walk(join(dist, folder)))
    .filter((file) => /\.js(\.map)?$/.test(file) && !existsSync(join(root, relative(dist, file)).replace(/\.js(\.map)?$/, ".ts")));
}

function walk(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? walk(path) : [path];
  });
}

function stampFile(root) {
  return join(root, "dist", ".stamp");
}

function readJson(file) {
  try {
    return JSON.parse(read(file));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * Takes the lock, waiting while a living process has it. A claim is a file that names its process. A process that sees no
 * other claim after making its own has the lock, so of two at most one has it. A claim's name is never used again, so a
 * dead process' claim can be removed at any time.
 */
export async function lock(path, say) {
  mkdirSync(dirname(path), { recursive: true });
  const own = `${path}.${process.pid}.${startOf(process.pid)}.${randomUUID()}`;
  const release = () => rmSync(own, { force: true });
  for (let waited = false; ; waited = true) {
    let holder = otherClaim(path, own);
    if (holder === null) {
      writeFileSync(own, "");
      holder = otherClaim(path, own);
      if (holder === null) return release;
      release();
    }
    if (!waited) say(`waiting for process ${holder}, which does the set-up`);
    // two that claimed at once must not do so again
    await sleep(150 + 100 * Math.random());
  }
}

/** The process of another claim; null when there is none. Removes those of dead processes. */
function otherClaim(path, own) {
  const prefix = `${basename(path)}.`;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(prefix) || name === basename(own)) continue;
    const [pid, start] = name.slice(prefix.length).split(".");
    if (startOf(Number(pid)) === start) return pid;
    rmSync(join(dirname(path), name), { force: true });
  }
  return null;
}

/** A file's text; null: there is no such file. */
function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
}

/** When a process started, in the system's own words; "gone": it has ended; "?": the system doesn't say. */
function startOf(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // a process of another user is alive, but may not be signalled
    if (error.code === "ESRCH") return "gone";
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return process.platform === "linux" ? "gone" : "?";
  }
}

/** Runs a program to its end. Throws an Error of one line that says what went wrong and, if that is known, what to do. */
async function run(command, args, cwd) {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-20_000)));
  // a program that goes on writing would be in the way of the next set-up
  let interrupted = false;
  const stop = () => {
    interrupted = true;
    child.kill();
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  const code = await new Promise((resolve) => child.on("error", (error) => resolve(error.code)).on("close", resolve));
  for (const signal of SIGNALS) process.off(signal, stop);
  if (interrupted) throw new Error("interrupted; the same command goes on from there");
  if (code === 0) return;
  throw new Error(whyFailed(command === "npm" ? "npm" : args[0], code, said));
}

/** One line that says why a step of the set-up failed. */
export function whyFailed(step, code, said) {
  if (code === "ENOENT") return `${step} is not on PATH; install it (it comes with Node)`;
  if (/ENOSPC|no space left/i.test(said)) return "the disk is full; free 2 GB and call again";
  if (/EACCES|EPERM|EROFS/.test(said))
    return `the checkout cannot be written (${/(EACCES|EPERM|EROFS)[^\n]*/.exec(said)[0]}); make it yours and call again`;
  if (step !== "npm") return `the build failed; the sources don't compile:\n${said.trim()}`;
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|network/i.test(said))
    return "npm cannot reach its registry; check the network and npm's proxy and registry settings, then call again";
  const line = said.split("\n").find((text) => /^npm (error|ERR!) (?!code)/.test(text)) ?? said.trim().split("\n").at(-1);
  return `npm ci failed: ${line.replace(/^npm (error|ERR!) /, "")}`;
}
