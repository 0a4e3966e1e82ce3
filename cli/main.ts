import { createRequire } from "node:module";
import { join } from "node:path";
import { messageOf, UserError } from "../core/errors.js";
import { nearest } from "../core/config/nearest.js";
import { withNegatives, type Command } from "./shell/command.js";
import { CHECKOUT, readEnvironment } from "../workers/environment.js";
import { explained } from "./shell/system-errors.js";

/** Loaded on demand, so that a command loads only the code that it uses. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  setup: async () => (await import("./commands/setup.js")).setup,
  demo: async () => (await import("./commands/demo.js")).demo,
  up: async () => (await import("./commands/up.js")).up,
  down: async () => (await import("./commands/down.js")).down,
  status: async () => (await import("./commands/status.js")).status,
  doctor: async () => (await import("./commands/doctor.js")).doctor,
  stage: async () => (await import("./commands/stage.js")).stage,
  generate: async () => (await import("./commands/generate.js")).generate,
  verify: async () => (await import("./commands/verify.js")).verify,
  report: async () => (await import("./commands/report.js")).report,
  compare: async () => (await import("./commands/compare.js")).compare,
  start: async () => (await import("./commands/start.js")).start,
  estimate: async () => (await import("./commands/estimate.js")).estimate,
  watch: async () => (await import("./commands/watch.js")).watch,
  list: async () => (await import("./commands/list.js")).list,
  cancel: async () => (await import("./commands/cancel.js")).cancel,
  override: async () => (await import("./commands/override.js")).override,
  schedule: async () => (await import("./commands/schedule.js")).schedule,
  inspect: async () => (await import("./commands/inspect.js")).inspect,
  bench: async () => (await import("./commands/bench.js")).bench,
  codec: async () => (await import("./commands/codec.js")).codec,
  gc: async () => (await import("./commands/gc.js")).gc,
};

/** Names of other programs' commands, and the command that does the same here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  run: "start",
  resume: "start",
  follow: "watch",
  stop: "down",
  kill: "cancel",
  ls: "list",
  runs: "list",
  ps: "status",
  logs: "status",
  log: "status",
  check: "doctor",
  prune: "gc",
  init: "setup",
  install: "setup",
};

/** Runs `roslin …args`; resolves to the exit code: 0, 2 for what the user must fix, 1 for the rest. */
export async function main(args: readonly string[]): Promise<number> {
  const asksHelp = ["help", "--help", "-h"].includes(args[0] ?? "");
  const [name, ...rest] = asksHelp && args[1] !== undefined ? [args[1], "--help"] : args;
  if (name === undefined || (asksHelp && args.length === 1)) {
    console.log(await overview());
    return name === undefined ? 2 : 0;
  }
  if (["version", "--version", "-v", "-V"].includes(name)) {
    const { version } = createRequire(import.meta.url)(join(CHECKOUT, "package.json")) as { readonly version: string };
    console.log(`roslin ${version}`);
    return 0;
  }
  const load = COMMANDS[name];
  if (load === undefined) {
    const guess = ELSEWHERE[name] ?? nearest(name, ["help", ...Object.keys(COMMANDS)]);
    console.error(`roslin: unknown command ${name}; ${guess === null ? "see roslin help" : `did you mean ${guess}?`}`);
    return 2;
  }
  const command = await load();
  if (rest.includes("--help") || rest.includes("-h")) {
    console.log(`${command.summary}\n\nusage: roslin ${command.usage}`);
    return 0;
  }
  try {
    return await command.run(withNegatives(rest), readEnvironment(process.env, CHECKOUT));
  } catch (error) {
    return complain(explained(error), command);
  }
}

/** Says on standard error what went wrong, in full; the exit code for it. */
function complain(error: unknown, command: Command): number {
  if (error instanceof TypeError && (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS") === true) {
    // the rest of the message is about arguments that begin with a dash, which no command takes
    const [said] = messageOf(error).split(". To specify");
    const option = /Unknown option '(.*?)'/.exec(said!)?.[1];
    const guess = option === undefined ? null : nearest(option, command.usage.match(/--[a-z-]+/g) ?? []);
    console.error(`roslin: ${said}${guess === null ? "" : `; did you mean ${guess}?`}\nusage: roslin ${command.usage}`);
    return 2;
  }
  console.error(`roslin: ${messageOf(error)}`);
  return error instanceof UserError ? 2 : 1;
}

async function overview(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));
  const width = Math.max(0, ...commands.map((command) => command.name.length));
  const lines = commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`);
  return `usage: npx --no roslin COMMAND …\n\n${lines.join("\n")}\n\nroslin COMMAND --help shows a command's arguments.`;
}
