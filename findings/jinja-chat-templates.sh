#!/usr/bin/env bash
# @huggingface/jinja 0.5.11, made "specifically for ML chat templates", against Python's jinja2 3.1.6 set up as transformers
# sets it up. These constructs of public chat templates give other text, without an error:
#
# 1. strip, lstrip and rstrip ignore the characters that they are given: '\n  x\n'.strip('\n') loses its blanks too.
# 2. What an iteration has written before {% continue %} is thrown away.
# 3. A variable that is set in one iteration of a loop is still set in the next one.
# 4. A macro sees the variables of the place where it is called.
# 5. Booleans are written as true and false, none as nothing; lists are compared by identity; 1 == '1' is true.
# 6. The length of a text is counted in UTF-16 units.
#
# Seen on 2026-11-30, on each line jinja2 and then the library:
#   strip      ["[  x]","[x]"]
#   continue   ["<a><b>b","<b>b"]
#   set        ["a1b","a1b1"]
#   macro      ["[]","[a]"]
#   boolean    ["True None","true "]
#   lists      ["True","False"]
#   numbers    ["False","true"]
#   length     ["1","2"]
#
# What to do: compare a template's text with transformers' before anything is trained, or override Interpreter.evaluate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund --silent @huggingface/jinja@0.5.11
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check jinja2==3.1.6
cat >cases.json <<'JSON'
{
  "strip": "[{{ '\\n  x\\n'.strip('\\n') }}]",
  "continue": "{% for m in ['a', 'b'] %}<{{ m }}>{% if m == 'a' %}{% continue %}{% endif %}{{ m }}{% endfor %}",
  "set": "{% for m in ['a', 'b'] %}{% if m == 'a' %}{% set x = 1 %}{% endif %}{{ m }}{{ x }}{% endfor %}",
  "macro": "{% macro f() %}[{{ m }}]{% endmacro %}{% for m in ['a'] %}{{ f() }}{% endfor %}",
  "boolean": "{{ true }} {{ none }}",
  "lists": "{{ 'True' if ['a'] == ['a'] else 'False' }}",
  "numbers": "{{ 1 == '1' }}",
  "length": "{{ '🙂' | length }}"
}
JSON
cat >python.py <<'PY'
import json
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
cases = json.load(open("cases.json", encoding="utf-8"))
print(json.dumps({name: environment.from_string(text).render() for name, text in cases.items()}))
PY
cat >look.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
const cases = JSON.parse(readFileSync("cases.json", "utf8"));
const python = JSON.parse(readFileSync("python.json", "utf8"));
for (const [name, text] of Object.entries(cases)) console.log(`${name.padEnd(10)} ${JSON.stringify([python[name], new Template(text).render()])}`);
JS
python/bin/python python.py >python.json
node look.mjs | tee seen.txt
cat >expected.txt <<'TXT'
strip      ["[  x]","[x]"]
continue   ["<a><b>b","<b>b"]
set        ["a1b","a1b1"]
macro      ["[]","[a]"]
boolean    ["True None","true "]
lists      ["True","False"]
numbers    ["False","true"]
length     ["1","2"]
TXT
diff expected.txt seen.txt
