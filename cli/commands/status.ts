import { parseArgs } from "node:util";
import { isAlive } from "../../infra/servers/service.js";
import type { Command } from "../shell/command.js";
import { readState } from "../machine/up-state.js";

/** `roslin status`: what `up` keeps running. */
export const status: Command = {
  name: "status",
  summary: "show what roslin up keeps running here, and its addresses",
  usage: "status [--json]",
  async run(args, { home }) {
    const { values } = parseArgs({ args: [...args], options: { json: { type: "boolean" } } });
    const state = await readState(home);
    const running = state !== null && isAlive(state.supervisor);
    const processes = (state?.processes ?? []).map(({ name, pid, start, restarts }) => ({
      name,
      pid,
      alive: isAlive({ pid, start }),
      restarts,
    }));
    if (values.json === true) {
      const s3 = state?.s3 === undefined || state.s3 === null ? null : { endpoint: state.s3.endpoint };
      console.log(
        JSON.stringify({
          running,
          home,
          supervisor: state?.supervisor.pid ?? null,
          temporal: state?.temporal ?? null,
          s3,
          reports: state?.reports ?? null,
          processes,
        }),
      );
      return 0;
    }
    if (!running) {
      const left = processes.filter(({ alive }) => alive);
      console.log(
        left.length === 0
          ? `nothing runs in ${home}; roslin up starts it`
          : `the supervisor was killed and left ${left.length} processes; roslin up clears them and goes on, roslin down only clears them`,
      );
      return 0;
    }
    console.log(`roslin up runs in ${home} as process ${state.supervisor.pid}`);
    if (state.temporal !== null) console.log(`  Web UI    ${state.temporal.uiAddress}\n  Temporal  ${state.temporal.address}`);
    if (state.s3 !== null) console.log(`  S3        ${state.s3.endpoint}`);
    if (state.reports !== undefined) console.log(`  Reports   ${state.reports}`);
    console.log(`  logs      ${home}/logs, one for each of these:`);
    for (const { name, pid, alive, restarts } of processes)
      console.log(
        `  ${name.padEnd(9)} ${alive ? `process ${pid}` : "down, about to be started again"}${restarts === 0 ? "" : `, started again ${restarts} times`}`,
      );
    return 0;
  },
};
