#!/usr/bin/env bash
# zod 4.6.7: z.toJSONSchema(schema, { io: "input" }) leaves out the default of a field that has a transform before its
# .default(), because such a default is a value of the output. The field is then neither required nor has a default, and
# documentation or a form that is made from the schema shows no default although parsing fills one in. With .prefault()
# instead, whose value is an input, the default is there. Adding a transform to a field thus removes its documented default.
#
# Seen on 2026-11-30:
#   default:  {"type":"string"}
#   prefault: {"default":"x","type":"string"}
#   plain:    {"default":"x","type":"string"}
#   parsed:   {"transformed":"x","prefaulted":"x","plain":"x"}
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund --silent zod@4.6.7
cat >look.mjs <<'JS'
import { z } from "zod";
const trimmed = z.string().transform((text) => text.trim());
const schema = z.object({ transformed: trimmed.default("x"), prefaulted: trimmed.prefault("x"), plain: z.string().default("x") });
const { properties } = z.toJSONSchema(schema, { io: "input" });
console.log(`default:  ${JSON.stringify(properties.transformed)}`);
console.log(`prefault: ${JSON.stringify(properties.prefaulted)}`);
console.log(`plain:    ${JSON.stringify(properties.plain)}`);
console.log(`parsed:   ${JSON.stringify(schema.parse({}))}`);
const as = (name) => properties[name].default;
process.exit(as("transformed") === undefined && as("prefaulted") === "x" && as("plain") === "x" ? 0 : 1);
JS
node look.mjs
