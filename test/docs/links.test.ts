import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import test from "node:test";
import { CHECKOUT } from "../../workers/environment.js";

/** What readers follow: links, paths, commands. All paths are relative to the checkout. */

const read = (path: string): string => readFileSync(join(CHECKOUT, path), "utf8");
const filesBelow = (folder: string): string[] =>
  readdirSync(join(CHECKOUT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md"))
    .map((entry) => join(entry.parentPath, entry.name).slice(CHECKOUT.length + 1));
const PAGES = ["README.md", "AGENTS.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", ...filesBelow("docs"), ...filesBelow(".github")];
const lines = (path: string): number => read(path).trimEnd().split("\n").length;

/** Every hit of a pattern's first group on any page for which `exists` is false. */
function missing(pattern: RegExp, exists: (found: string, page: string) => boolean): string[] {
  return PAGES.flatMap((page) =>
    [...read(page).matchAll(pattern)].flatMap(([, found]) => (exists(found!, page) ? [] : [`${page}: ${found!}`])),
  );
}

test("every relative link leads to a file", () => {
  const leads = (link: string, page: string): boolean => existsSync(join(CHECKOUT, normalize(join(dirname(page), link))));
  assert.deepEqual(missing(/\]\((?![a-z]+:|#)([^)#\s]+)/g, leads), []);
});

test("every path of a source file, test or page that is named exists", () => {
  const path =
    /(?<![\w./-])((?:core|engines|workflows|activities|workers|infra|cli|demo|bench|test|docs|bin|dist)\/[\w./-]*\.(?:ts|js|mjs|py|md|json|svg))\b/g;
  const source = (name: string): string => (name.startsWith("dist/") ? name.slice("dist/".length).replace(/\.js$/, ".ts") : name);
  assert.deepEqual(
    missing(path, (name) => existsSync(join(CHECKOUT, source(name)))),
    [],
  );
});

test("every npm script that is named exists", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  assert.deepEqual(
    missing(/npm run ([\w:-]+)/g, (name) => name in scripts),
    [],
  );
});

test("README has at most 120 lines, the log at most 200, and every decision below 60 lines and a line in the log", () => {
  assert.ok(lines("README.md") <= 120);
  assert.ok(lines("docs/log.md") <= 200);
  const log = read("docs/log.md");
  for (const name of readdirSync(join(CHECKOUT, "docs", "decisions"))) {
    assert.ok(lines(`docs/decisions/${name}`) < 60, name);
    assert.ok(log.includes(`(decisions/${name})`), `docs/log.md has no line for ${name}`);
  }
  for (const name of readdirSync(join(CHECKOUT, "docs", "measurements"))) assert.ok(log.includes(`(measurements/${name})`), name);
});
