#!/usr/bin/env bash
# transformers 5.24.0, AutoTokenizer.from_pretrained: a tokenizer.json is not read as it is if tokenizer_config.json names a class
# that builds its own tokenizer, such as GPT2Tokenizer. Vocabulary and merges are taken, and normalizer and pre-tokenizer are
# replaced by the class's own, without a word. Models whose tokenizer.json splits digits and whose class is GPT2Tokenizer get
# other ids than `tokenizers` gives for the same file. With the class PreTrainedTokenizerFast the file counts.
#
# Seen on 2026-11-30, "12" with a merge of 1 and 2 and a pre-tokenizer that cuts digits apart:
#   tokenizers:              ["1", "2"]
#   PreTrainedTokenizerFast: ["1", "2"]
#   GPT2Tokenizer:           ["12"]
#
# What to do: compare the class's components with the file's, and ask for PreTrainedTokenizerFast where they differ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0
cat >look.py <<'PY'
import json, os, pathlib, sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

made = Tokenizer(models.BPE({"1": 0, "2": 1, "12": 2, "<|endoftext|>": 3}, [("1", "2")]))
made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
made.add_special_tokens(["<|endoftext|>"])
seen = {"tokenizers": made.encode("12").tokens}
for name in ["PreTrainedTokenizerFast", "GPT2Tokenizer"]:
    directory = pathlib.Path(name)
    directory.mkdir()
    made.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"model_type": "gptj"}))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    seen[name] = AutoTokenizer.from_pretrained(directory).tokenize("12")
for name, tokens in seen.items():
    print(f"{name + ':':24} {json.dumps(tokens)}")
sys.exit(0 if seen == {"tokenizers": ["1", "2"], "PreTrainedTokenizerFast": ["1", "2"], "GPT2Tokenizer": ["12"]} else 1)
PY
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error python/bin/python look.py 2>/dev/null
