import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { parseRunConfig, runConfigSchema } from "../../core/config/schema.js";
import { CHECKOUT } from "../../workers/environment.js";
import { configurationFiles } from "./configuration.js";

test("docs/configuration.md and docs/config.schema.json say what the schema says; if not, npm run docs writes them", () => {
  for (const [path, text] of Object.entries(configurationFiles())) assert.equal(readFileSync(join(CHECKOUT, path), "utf8"), text, path);
});

test("the JSON Schema has every field of a parsed input, with its default", () => {
  const defaultsOf = (field: { properties?: Record<string, object>; default?: unknown }): unknown =>
    field.properties === undefined
      ? field.default
      : Object.fromEntries(Object.entries(field.properties).map(([name, inner]) => [name, defaultsOf(inner)]));
  assert.deepEqual(defaultsOf(runConfigSchema() as object), parseRunConfig({}));
});
