import type { Program } from "../../core/graph/graph.js";
import { encode } from "../../core/graph/lower.js";
import type { createSession, Session } from "./session/session.js";

/** Sessions by the names of their graphs. */
export type Sessions = Readonly<Record<string, Session>>;

/** A session for each of these graphs. Throws Error where two have one name. */
export async function openPrograms(programs: readonly Program[], threads: number, create: typeof createSession): Promise<Sessions> {
  if (new Set(programs.map(({ name }) => name)).size < programs.length)
    throw new Error(`two graphs have one name [graphs=${programs.map(({ name }) => name).join(" ")}]`);
  const opened = await Promise.all(programs.map(async (program) => [program.name, await create(encode(program), { threads })] as const));
  return Object.fromEntries(opened);
}
