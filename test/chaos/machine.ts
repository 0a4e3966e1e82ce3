import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, symlinkSync } from "node:fs";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Client, Connection } from "@temporalio/client";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { readState, runningState, type UpState } from "../../cli/machine/up-state.js";
import { choosePorts, TEMPORAL_PORTS } from "../../infra/servers/ports.js";
import { processStart } from "../../infra/process/process-start.js";
import { isAlive } from "../../infra/servers/service.js";
import { getTool, TEMPORAL } from "../../infra/servers/tools.js";
import { mountSmallDisk, unmountSmallDisk } from "./disk.js";
import { HttpProxy } from "./http-proxy.js";
import { makeJob } from "./job.js";
import { Line } from "./line.js";

/** GPU workers of the machine: fewer than the job's shards, so that one hosts two. */
export const GPU_WORKERS = 3;

/** Milliseconds that a process may take to start or to stop. */
const PATIENCE_MS = 90_000;

/** Temporal, S3, the pipeline worker and the pages about runs. */
const SERVICES = 4;

/** The workers by the names that the supervisor gives them. */
const WORKERS = ["pipeline", ...Array.from({ length: GPU_WORKERS }, (_, slot) => `gpu-${slot}`)];

/**
 * What `roslin up` runs, and a hub, with a home of their own. Both are started again when they die. Workers reach the
 * servers through proxies that make trouble. The home is a small disk, if one may be mounted; S3's data lie outside it.
 */
export class ChaosMachine {
  readonly home: string;
  /** whether the home is a small disk, which can be filled */
  readonly smallDisk: boolean;
  readonly toHub: HttpProxy;
  readonly toS3: HttpProxy;
  /** by the worker's name */
  readonly toTemporal: ReadonlyMap<string, Line>;
  private readonly place: string;
  private readonly variables: NodeJS.ProcessEnv;
  private readonly hubPort: number;
  private readonly keepers: Promise<void>[] = [];
  private readonly children: Record<"up" | "hub", ChildProcess | null> = { up: null, hub: null };
  private stopping = false;
  private connected: { readonly address: string; readonly client: Client } | null = null;

  private constructor(place: string, smallDisk: boolean, hubPort: number) {
    this.place = place;
    this.home = join(place, "home");
    this.smallDisk = smallDisk;
    this.hubPort = hubPort;
    this.toHub = new HttpProxy(async () => hubPort);
    this.toS3 = new HttpProxy(async () => portOf((await this.state())?.s3?.endpoint.replace("http://", "")));
    const temporal = async (): Promise<{ host: string; port: number } | null> => {
      const port = portOf((await this.state())?.temporal?.address);
      return port === null ? null : { host: "127.0.0.1", port };
    };
    this.toTemporal = new Map(WORKERS.map((name) => [name, new Line(temporal)]));
    const kept = Object.entries(process.env).filter(([name]) => !/^(AWS_|HF_|ROSLIN_|TEMPORAL_(?!CLI_PATH$)|NODE_TEST_CONTEXT)/.test(name));
    this.variables = {
      ...Object.fromEntries(kept),
      ROSLIN_HOME: this.home,
      HF_HOME: join(this.home, "hub-cache"),
      ORT_DISABLE_TELEMETRY: "1",
    };
  }

  /** Makes the home with the job, and starts everything. */
  static async start(): Promise<ChaosMachine> {
    const place = await mkdtemp(join(tmpdir(), "roslin-chaos-"));
    const home = join(place, "home");
    for (const directory of [home, join(place, "s3")]) mkdirSync(directory);
    const smallDisk = mountSmallDisk(home);
    symlinkSync(join(place, "s3"), join(home, "s3"));
    const usual = readEnvironment(process.env, CHECKOUT);
    if (existsSync(usual.tools)) symlinkSync(usual.tools, join(home, "tools"));
    makeJob(join(home, "hub"));
    // not the usual ports, because a user's `roslin up` takes those
    const { hub } = await choosePorts(home, ["hub", ...TEMPORAL_PORTS]);
    const machine = new ChaosMachine(place, smallDisk, hub);
    await Promise.all(machine.lines().map((line) => line.listen()));
    machine.keepers.push(machine.keepRunning("up"), machine.keepRunning("hub"));
    try {
      await machine.untilUp();
    } catch (error) {
      await machine.stop();
      throw error;
    }
    return machine;
  }

  /** The state that `roslin up` has written; null while it does not run. */
  state(): Promise<UpState | null> {
    return runningState(this.home);
  }

  /** Ids of the living processes with a wanted name: that of a service, "hub" or "supervisor". */
  async pids(wanted: (name: string) => boolean): Promise<number[]> {
    const state = await readState(this.home);
    const services = (state?.processes ?? []).filter((service) => wanted(service.name) && isAlive(service)).map(({ pid }) => pid);
    const parents = (["up", "hub"] as const).filter((name) => wanted(name === "up" ? "supervisor" : name));
    return [...services, ...parents.flatMap((name) => this.children[name]?.pid ?? [])];
  }

  /** A client of the Temporal server, whose port may change after a kill of the supervisor. Throws while `roslin up` does not run. */
  async client(): Promise<Client> {
    const address = (await this.state())?.temporal?.address;
    if (address === undefined) throw new Error("roslin up does not run");
    if (this.connected?.address !== address) {
      await this.connected?.client.connection.close();
      this.connected = { address, client: new Client({ connection: Connection.lazy({ address }) }) };
    }
    return this.connected.client;
  }

  /** Waits until every service has been started. */
  async untilUp(): Promise<UpState> {
    for (const limit = Date.now() + PATIENCE_MS; Date.now() < limit; await sleep(50)) {
      const state = await this.state().catch(() => null);
      const names = state?.processes.filter(isAlive).map(({ name }) => name) ?? [];
      if (names.length === GPU_WORKERS + SERVICES) return state!;
    }
    throw new Error(`roslin up did not come up: ${(await readFile(join(this.home, "logs", "up.log"), "utf8")).slice(-2000)}`);
  }

  /** Stops everything as Ctrl-C does, the hub last. The home stays. */
  async stop(): Promise<void> {
    this.stopping = true;
    await this.connected?.client.connection.close();
    this.connected = null;
    for (const name of ["up", "hub"] as const) {
      const child = this.children[name];
      if (child === null || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await Promise.all(this.keepers);
    for (const line of this.lines()) line.close();
  }

  /** Keeps a failed run's files, unmounts the small disk, and resolves to the directory with the files. */
  async keep(): Promise<string> {
    if (!this.smallDisk) return this.home;
    const kept = join(this.place, "kept");
    await cp(this.home, kept, { recursive: true, verbatimSymlinks: true });
    unmountSmallDisk(this.home);
    return kept;
  }

  async remove(): Promise<void> {
    if (this.smallDisk) unmountSmallDisk(this.home);
    await rm(this.place, { recursive: true, force: true });
  }

  /** Calls the Temporal CLI as users do. Throws while `roslin up` does not run. */
  async temporal(...args: readonly string[]): Promise<void> {
    const address = (await this.state())?.temporal?.address;
    if (address === undefined) throw new Error("roslin up does not run");
    const binary = await getTool(
      TEMPORAL,
      { directory: join(this.home, "tools"), variables: this.variables },
      () => undefined,
      new AbortController().signal,
    );
    await promisify(execFile)(binary, [...args, "--address", address], { timeout: PATIENCE_MS });
  }

  private lines(): (HttpProxy | Line)[] {
    return [this.toHub, this.toS3, ...this.toTemporal.values()];
  }

  private async keepRunning(name: "up" | "hub"): Promise<void> {
    const lines = { s3: this.toS3.port, ...Object.fromEntries([...this.toTemporal].map(([worker, { port }]) => [worker, port])) };
    const directory = join(CHECKOUT, "dist", "test", "chaos");
    const args = {
      up: ["--enable-source-maps", join(directory, "up-child.js"), `${GPU_WORKERS}`, JSON.stringify(lines)],
      hub: [join(directory, "hub-child.js"), join(this.home, "hub"), `${this.hubPort}`],
    }[name];
    const env = { ...this.variables, HF_ENDPOINT: `http://127.0.0.1:${this.toHub.port}` };
    mkdirSync(join(this.home, "logs"), { recursive: true });
    while (!this.stopping) {
      const log = openSync(join(this.home, "logs", `${name}.log`), "a");
      const child = spawn(process.execPath, args, { env, stdio: ["ignore", log, log], detached: true });
      closeSync(log);
      this.children[name] = child;
      await once(child, "exit");
      this.children[name] = null;
      if (!this.stopping) await sleep(300);
    }
  }
}

function portOf(address: string | undefined): number | null {
  return address === undefined ? null : Number(address.split(":")[1]);
}

/** When a process started: it tells whether a pid is still the same process. null: the process is gone. */
export function startOf(pid: number): string | null {
  return processStart(pid);
}
