#!/usr/bin/env bash
# @huggingface/tokenizers 0.2.0 (JavaScript) reads a tokenizer.json with the pre-tokenizer Metaspace and "split": true, but does not
# cut the text into words. Where a merge reaches over a blank, it gives other ids than tokenizers 0.23.3 (Python) for the same file,
# without a word. Tokenizers of Llama 2's kind that were saved in the newer form have this pre-tokenizer.
#
# Seen on 2026-11-30, for "a b" with a merge of "▁a" and "▁b":
#   python:     ['▁a', '▁b']
#   javascript: ['▁a▁b']
#   with "split": false both give ['▁a▁b']
#
# What to do: compare the ids of both on texts of your own, or cut words yourself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check --no-deps tokenizers==0.23.3
npm install --silent --no-audit --no-fund @huggingface/tokenizers@0.2.0 >/dev/null
cat >make.py <<'PY'
import json

from tokenizers import Tokenizer

vocabulary = {"▁": 0, "a": 1, "b": 2, "▁a": 3, "▁b": 4, "▁a▁b": 5}
for split in (True, False):
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": split}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [["▁", "a"], ["▁", "b"], ["▁a", "▁b"]]}
    model |= {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    file |= {"pre_tokenizer": metaspace, "post_processor": None, "decoder": None, "model": model}
    text = json.dumps(file)
    open(f"{split}.json".lower(), "w").write(text)
    print(f"python split={split}".lower(), Tokenizer.from_str(text).encode("a b").tokens)
PY
cat >read.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

for (const split of [true, false]) {
  const tokenizer = new Tokenizer(JSON.parse(readFileSync(`${split}.json`, "utf8")), {});
  const tokens = tokenizer.encode("a b").tokens.map((token) => `'${token}'`);
  console.log(`javascript split=${split} [${tokens.join(", ")}]`);
}
JS
got=$(python/bin/python make.py && node read.mjs)
echo "$got"
[ "$got" = "python split=true ['▁a', '▁b']
python split=false ['▁a▁b']
javascript split=true ['▁a▁b']
javascript split=false ['▁a▁b']" ]
