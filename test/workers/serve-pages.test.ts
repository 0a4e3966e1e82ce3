import assert from "node:assert/strict";
import { request } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { UserError } from "../../core/errors.js";
import { choosePorts } from "../../infra/servers/ports.js";
import { servePages } from "../../workers/serve-pages.js";
import { parseMarkup } from "../activities/report/parse-markup.js";

const home = mkdtempSync(join(tmpdir(), "roslin-pages-"));
let port = 0;
let server: { close(): void };
const asked: string[] = [];

before(async () => {
  port = (await choosePorts(home, ["reports"])).reports;
  server = await servePages(`http://127.0.0.1:${port}`, {
    runs: async () => [{ id: `<b>/"1"`, state: "running", started: "2026-11-30T00:00:00.000Z" }],
    page: async (id) => {
      asked.push(id);
      if (id === "broken") throw new Error("<i>the disk is gone</i>");
      if (id !== "one") throw new UserError("there is no run with this id", { id });
      return "<p>page</p>";
    },
  });
});
after(() => {
  server.close();
  rmSync(home, { recursive: true });
});

interface Got {
  readonly status: number;
  readonly text: string;
  readonly headers: NodeJS.Dict<string | string[]>;
}

/** Asks as it is written, without making the path shorter. */
function get(path: string, { method = "GET", host = `127.0.0.1:${port}` } = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: "127.0.0.1", port, path, method, headers: { host } }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text, headers: response.headers }));
    });
    asking.on("error", reject);
    asking.end();
  });
}

test("the list links to each run, whatever its id, and a run's page is what was made for it", async () => {
  const { status, text, headers } = await get("/");
  assert.equal(status, 200);
  const [link] = parseMarkup(text).filter(({ name }) => name === "a");
  assert.equal(link!.attributes.get("href"), "/runs/%3Cb%3E%2F%221%22");
  assert.equal(headers["content-security-policy"], "frame-ancestors 'none'");
  assert.equal((await get("/runs/one")).text, "<p>page</p>");
  assert.equal((await get("/runs/one", { method: "HEAD" })).text, "");
});

test("only this machine's names are answered, and only questions", async () => {
  for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1", `127.0.0.1:${port}.evil.example`])
    assert.equal((await get("/runs/one", { host })).status, 403, host);
  assert.equal((await get("/", { host: `localhost:${port}` })).status, 200);
  assert.equal((await get("/", { method: "POST" })).status, 405);
});

test("an address that other machines may reach is refused before anything listens", async () => {
  const pages = { runs: async () => [], page: async () => "" };
  for (const host of ["0.0.0.0", "[::]", "192.0.2.1", "example.com", "127.0.0.1.example.com", "127.0.0.1@192.0.2.1"])
    await assert.rejects(servePages(`http://${host}:${port}`, pages), UserError, host);
  for (const address of ["", "127.0.0.1:80", "https://127.0.0.1:80", "http://127.0.0.1"])
    await assert.rejects(servePages(address, pages), UserError, address);
});

test("paths that lead elsewhere name no page, and what looks like one in an id is just an id", async () => {
  for (const path of ["/runs/", "/runs/a/b", "/runs/../../etc/passwd", "/etc/passwd", "/runs/%ff", "//evil.example/runs/one"])
    assert.equal((await get(path)).status, 404, path);
  assert.equal((await get("/runs/..%2f..%2fetc%2fpasswd")).status, 404);
  assert.equal(asked.at(-1), "../../etc/passwd");
});

test("an error is said in words that are no markup", async () => {
  const { status, text } = await get("/runs/broken");
  assert.equal(status, 500);
  assert.ok(text.includes("&lt;i&gt;the disk is gone&lt;/i&gt;"));
  parseMarkup(text);
});
