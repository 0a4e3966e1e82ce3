import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { pageFrame } from "../activities/report/page/frame.js";
import { columnTable, section } from "../activities/report/page/markup.js";
import { messageOf, UserError } from "../core/errors.js";
import { element, escapeMarkup } from "../infra/plots/markup.js";

/** Pages over HTTP for the browsers of this machine alone. */

/** A run in the list. */
export interface RunLine {
  readonly id: string;
  readonly state: string;
  /** ISO 8601 */
  readonly started: string;
}

/** What the pages are made from. */
export interface Pages {
  runs(): Promise<readonly RunLine[]>;
  /** The page about a run; throws UserError if there is no such run. */
  page(id: string): Promise<string>;
}

/** What every answer says: nothing may be loaded, framed or kept. */
const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy": "frame-ancestors 'none'",
  "cache-control": "no-store",
};

/** Serves at an address such as `http://127.0.0.1:8234`; resolves when it listens. Throws UserError for one that other machines may reach. */
export async function servePages(address: string, pages: Pages): Promise<{ close(): void }> {
  const [, hostname, port] = /^http:\/\/(127\.0\.0\.1|localhost):(\d+)\/?$/.exec(address) ?? [];
  if (hostname === undefined || port === undefined)
    throw new UserError("pages about runs are served to this machine alone", {
      address,
      expected: "http://127.0.0.1:PORT or http://localhost:PORT",
    });
  const server = createServer((request, response) => {
    void answer(request, port, pages)
      .catch((error: unknown) => plainPage(error instanceof UserError ? 404 : 500, messageOf(error)))
      .then(({ status, text }) => send(request, response, status, text));
  });
  server.listen(Number(port), hostname);
  await once(server, "listening");
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function answer(request: IncomingMessage, port: string, pages: Pages): Promise<Answer> {
  // a web site whose name was made to point here must not read what is served
  const host = request.headers.host ?? "";
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`)
    return plainPage(403, `this server answers only to 127.0.0.1:${port} and localhost:${port}`);
  if (request.method !== "GET" && request.method !== "HEAD") return plainPage(405, "only pages are served here");
  const [path] = (request.url ?? "/").split("?");
  if (path === "/") return { status: 200, text: listPage(await pages.runs()) };
  const id = idIn(path!);
  return id === null ? plainPage(404, "there is no such page") : { status: 200, text: await pages.page(id) };
}

/** The run that a path names: one part, which is never a path on this machine. */
function idIn(path: string): string | null {
  const [, part] = /^\/runs\/([^/]+)$/.exec(path) ?? [];
  try {
    return part === undefined ? null : decodeURIComponent(part);
  } catch {
    return null;
  }
}

function send(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { ...HEADERS, "content-length": Buffer.byteLength(text) });
  response.end(request.method === "HEAD" ? undefined : text);
}

function listPage(runs: readonly RunLine[]): string {
  const rows = runs.map(({ id, state, started }) => [
    element("a", { href: `/runs/${encodeURIComponent(id)}` }, escapeMarkup(id)),
    escapeMarkup(state),
    escapeMarkup(started),
  ]);
  const table = rows.length === 0 ? "<p>There are no runs yet.</p>" : columnTable("Runs", ["run", "state", "started"], rows);
  return pageFrame({ title: "Runs", kicker: "Roslin", body: ["</header>", section("The latest first", table)] });
}

function plainPage(status: number, message: string): Answer {
  return { status, text: pageFrame({ title: `${status}`, kicker: "Roslin", body: ["</header>", `<p>${escapeMarkup(message)}</p>`] }) };
}
