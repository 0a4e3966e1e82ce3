#!/usr/bin/env bash
# csv-parse 7.0.3: `info.lines`, the line at which a record ends, counts a CRLF inside a quoted field as two lines, whereas one
# between records counts as one. With Windows line ends every number after such a field is too high, by one for each of
# its line breaks, so an error message names a line that is not the file's.
#
# Seen on 2026-11-30, with Node 20: a header and the record `1,"x<newline>y<newline>z"`, which ends on line 4.
#   LF:   4
#   CRLF: 6
#
# What to do: count the line ends of the raw bytes of each record (option `raw`), and do not show `info.lines`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund csv-parse@7.0.3
cat >look.mjs <<'JS'
import { parse } from "csv-parse/sync";

for (const end of ["\n", "\r\n"]) {
  const text = ["a,b", '1,"x', "y", 'z"', ""].join(end);
  const [{ info }] = parse(text, { columns: true, info: true });
  console.log(end.length === 1 ? "LF" : "CRLF", info.lines);
}
JS
got=$(node look.mjs)
echo "$got"
expected=$'LF 4\nCRLF 6'
[ "$got" = "$expected" ] || { echo "expected: $expected" >&2; exit 1; }
