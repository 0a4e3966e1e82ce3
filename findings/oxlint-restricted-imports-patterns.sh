#!/usr/bin/env bash
# oxlint 1.89.0, rule no-restricted-imports, against ESLint 9.39.5 on the same files. Two configurations that ESLint carries
# out let every import pass in oxlint, without a word and with exit code 0:
#
# 1. A pattern whose regex has a lookahead, such as ^(?!node:)[a-z]. oxlint reports nothing at all: it neither applies nor
#    refuses the pattern.
# 2. A group with an exception (["*", "!node:*"]) followed by another pattern. An import that the exception takes out of the
#    group is not compared with the patterns after it.
#
# Seen on 2026-11-30:
#   lookahead: eslint 1 error, oxlint 0 errors
#   after an exception: eslint 1 error, oxlint 0 errors
#   without either: oxlint 1 error
#
# What to do: write regexes without lookaheads, put groups with exceptions last, and try each pattern on a file that breaks it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund --silent oxlint@1.89.0 eslint@9.39.5
bin=node_modules/.bin

echo 'import { x } from "some-package"; export const y = x;' >package.mjs
echo 'import fs from "node:fs"; export const y = fs;' >builtin.mjs

# writes the same patterns for both linters: NAME PATTERNS
configure() {
  echo "{ \"categories\": { \"correctness\": \"off\" }, \"rules\": { \"no-restricted-imports\": [\"error\", { \"patterns\": $2 }] } }" >"$1.json"
  echo "export default [{ rules: { \"no-restricted-imports\": [\"error\", { patterns: $2 }] } }];" >"$1.config.mjs"
}
configure lookahead '[{ "regex": "^(?!node:)[a-z]" }]'
configure exception '[{ "group": ["*", "!node:*"], "message": "a" }, { "regex": "^node:fs$", "message": "b" }]'
configure plain '[{ "regex": "^[a-z]" }]'

errors_of_oxlint() { { "$bin/oxlint" -c "$1.json" "$2" || true; } | sed -n 's/^Found .* and \([0-9]*\) error.*/\1/p'; }
errors_of_eslint() { { "$bin/eslint" -c "$1.config.mjs" --format json "$2" || true; } | node -e 'console.log(JSON.parse(require("fs").readFileSync(0))[0].errorCount)'; }

status=0
expect() {
  echo "$1: $2 error(s), expected $3"
  [ "$2" = "$3" ] || status=1
}
expect "lookahead, eslint" "$(errors_of_eslint lookahead package.mjs)" 1
expect "lookahead, oxlint" "$(errors_of_oxlint lookahead package.mjs)" 0
expect "after an exception, eslint" "$(errors_of_eslint exception builtin.mjs)" 1
expect "after an exception, oxlint" "$(errors_of_oxlint exception builtin.mjs)" 0
expect "without either, oxlint" "$(errors_of_oxlint plain package.mjs)" 1
exit "$status"
