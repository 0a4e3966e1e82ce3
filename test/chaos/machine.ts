import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, symlinkSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { readState, runningState, type UpState } from "../../cli/state.js";
import { choosePorts, TEMPORAL_PORTS } from "../../infra/servers/ports.js";
import { processStart } from "../../infra/lock.js";
import { isAlive } from "../../infra/servers/service.js";
import { makeJob } from "./job.js";

/** GPU workers of the machine: fewer than the job's shards, so that one hosts two. */
export const GPU_WORKERS = 3;

/** Milliseconds that anything may take to come up or to go. */
const PATIENCE_MS = 90_000;

/** A home of its own with `roslin up` and a hub in it, both started again when they die. */
export class ChaosMachine {
  readonly home: string;
  private readonly variables: NodeJS.ProcessEnv;
  private readonly hubPort: number;
  private readonly keepers: Promise<void>[] = [];
  private readonly children: Record<"up" | "hub", ChildProcess | null> = { up: null, hub: null };
  private stopping = false;
  private connected: { readonly address: string; readonly client: Client } | null = null;

  private constructor(home: string, hubPort: number) {
    this.home = home;
    this.hubPort = hubPort;
    const own = Object.entries(process.env).filter(([name]) => !/^(AWS_|HF_|ROSLIN_|TEMPORAL_(?!CLI_PATH$)|NODE_TEST_CONTEXT)/.test(name));
    this.variables = {
      ...Object.fromEntries(own),
      ROSLIN_HOME: home,
      HF_HOME: join(home, "hub-cache"),
      HF_ENDPOINT: `http://127.0.0.1:${hubPort}`,
      ORT_DISABLE_TELEMETRY: "1",
    };
  }

  /** Makes the home with the job, and starts everything. */
  static async start(): Promise<ChaosMachine> {
    const home = await mkdtemp(join(tmpdir(), "roslin-chaos-"));
    const usual = readEnvironment(process.env, CHECKOUT);
    if (existsSync(usual.tools)) symlinkSync(usual.tools, join(home, "tools"));
    makeJob(join(home, "hub"));
    // not the usual ones, which a user's own `roslin up` takes when they are free
    const { hub } = await choosePorts(home, ["hub", ...TEMPORAL_PORTS]);
    const machine = new ChaosMachine(home, hub);
    machine.keepers.push(machine.keep("up"), machine.keep("hub"));
    try {
      await machine.untilUp();
    } catch (error) {
      await machine.stop();
      throw error;
    }
    return machine;
  }

  /** What `roslin up` says of itself; null while it is not up. */
  state(): Promise<UpState | null> {
    return runningState(this.home);
  }

  /** The living processes of a name: a service's, "hub" or "supervisor". */
  async pids(wanted: (name: string) => boolean): Promise<number[]> {
    const state = await readState(this.home);
    const services = (state?.processes ?? []).filter((each) => wanted(each.name) && isAlive(each)).map(({ pid }) => pid);
    const own = (["up", "hub"] as const).filter((name) => wanted(name === "up" ? "supervisor" : name));
    return [...services, ...own.flatMap((name) => this.children[name]?.pid ?? [])];
  }

  /** A client of the server where it is now: after a kill of the supervisor that may be another port. Throws while nothing is up. */
  async client(): Promise<Client> {
    const address = (await this.state())?.temporal?.address;
    if (address === undefined) throw new Error("roslin up is away");
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
      if (names.length === GPU_WORKERS + 3) return state!;
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
  }

  remove(): Promise<void> {
    return rm(this.home, { recursive: true, force: true });
  }

  private async keep(name: "up" | "hub"): Promise<void> {
    const main = JSON.stringify(join(CHECKOUT, "dist", "cli", "main.js"));
    const args = {
      up: [
        ...["--enable-source-maps", "--input-type=module", "-e"],
        `process.exit(await (await import(${main})).main(process.argv.slice(1)))`,
        ...["--", "up", "--workers", `${GPU_WORKERS}`],
      ],
      hub: [join(CHECKOUT, "dist", "test", "chaos", "hub-child.js"), join(this.home, "hub"), `${this.hubPort}`],
    }[name];
    mkdirSync(join(this.home, "logs"), { recursive: true });
    while (!this.stopping) {
      const log = openSync(join(this.home, "logs", `${name}.log`), "a");
      const child = spawn(process.execPath, args, { env: this.variables, stdio: ["ignore", log, log], detached: true });
      closeSync(log);
      this.children[name] = child;
      await once(child, "exit");
      this.children[name] = null;
      if (!this.stopping) await sleep(300);
    }
  }
}

/** Whether a pid still is the process that it was. */
export function startOf(pid: number): string | null {
  return processStart(pid);
}
