import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";
import { CHECKOUT } from "../workers/environment.js";

/** The house as design and docs/architecture.md describe it: rooms are the top-level folders and their first level. */

const FLOORS = ["core", "infra", "engines", "workflows", "activities", "workers", "cli", "demo", "bench"] as const;
/** What each floor may import besides itself. */
const BELOW: Readonly<Record<(typeof FLOORS)[number], readonly string[]>> = {
  core: [],
  infra: ["core"],
  engines: ["core", "infra"],
  workflows: ["core"],
  activities: ["core", "infra", "engines", "workflows"],
  workers: ["core", "infra", "engines", "workflows", "activities"],
  demo: ["core", "infra"],
  cli: ["core", "infra", "engines", "workflows", "activities", "workers", "demo", "bench"],
  bench: ["core", "infra", "engines", "workflows", "activities", "workers", "demo"],
};

const files = FLOORS.flatMap((floor) =>
  readdirSync(join(CHECKOUT, floor), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${floor}/${name}`),
);

/** The sources that a file names in an import or export, also in those of types and those that wait until they are needed. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(CHECKOUT, file), "utf8");
  return [...text.matchAll(/(?:from |import\(|^import )"(\.[^"]+)\.js"/gm)].map((match) =>
    normalize(join(dirname(file), `${match[1]}.ts`)),
  );
}

const imports = new Map(files.map((file) => [file, importsOf(file)]));

function roomOf(file: string): string {
  return file.split("/").slice(0, -1).slice(0, 2).join("/");
}

/** A circle in a graph, its first name again at the end; null when there is none. */
function circle(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | null {
  const done = new Set<string>();
  const walk = (at: string, path: readonly string[]): string[] | null => {
    if (path.includes(at)) return [...path.slice(path.indexOf(at)), at];
    if (done.has(at)) return null;
    for (const next of edges.get(at) ?? []) {
      const found = walk(next, [...path, at]);
      if (found !== null) return found;
    }
    done.add(at);
    return null;
  };
  for (const start of edges.keys()) {
    const found = walk(start, []);
    if (found !== null) return found;
  }
  return null;
}

test("every file that another one imports is there", () => {
  for (const [file, targets] of imports) for (const target of targets) assert.ok(files.includes(target), `${file} imports ${target}`);
});

test("imports point down", () => {
  for (const [file, targets] of imports)
    for (const target of targets) {
      const [floor, other] = [file, target].map((name) => name.split("/")[0]!) as [keyof typeof BELOW, string];
      assert.ok(floor === other || BELOW[floor].includes(other), `${file} imports ${target}`);
    }
});

test("no files import each other in a circle, types included", () => {
  assert.equal(circle(new Map([...imports].map(([file, targets]) => [file, new Set(targets)]))), null);
});

test("no rooms import each other in a circle", () => {
  const rooms = new Map<string, Set<string>>();
  for (const [file, targets] of imports)
    for (const target of targets) {
      const [from, to] = [roomOf(file), roomOf(target)];
      // a floor's own files and its rooms are one house: what lies beside the rooms puts them together
      if (from === to) continue;
      rooms.set(from, (rooms.get(from) ?? new Set()).add(to));
    }
  assert.equal(circle(rooms), null);
});

test("no source has more than 400 lines", () => {
  const long = files.filter((file) => readFileSync(join(CHECKOUT, file), "utf8").split("\n").length > 401);
  assert.deepEqual(
    long.map((file) => relative(".", file)),
    [],
  );
});
