"""Compares Roslin's reading of a tokenizer's files with transformers': python3 directories.py [--count 500] [--seed 1].

Needs transformers 5 and a built dist/. Random model directories (classes, special and added tokens in every file that may name
them, flags, vocab.json with merges.txt) are read by AutoTokenizer and by Roslin: both must give the same ids, BOS and EOS, or
Roslin refuses the directory. Exits with 1 if something differs, or if Roslin reads what transformers doesn't.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# one of the files here is named as the library
HERE = pathlib.Path(sys.path.pop(0)).resolve()

from transformers import AutoTokenizer  # noqa: E402

sys.path.append(str(HERE))

import figures  # noqa: E402
from shapes import CONFIG, END, QWEN2, byte_level, numbered, sequence, split, token, write  # noqa: E402

CONTENTS = ["<x>", "two", "five", END, "three", "<y>", "Hello"]
TEXTS = [*figures.TEXTS, "<x> <y>two  <x>Hello five<y>  three<x>", f"two<x>two <x> {END}x  five  "]
CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", "CodeGenTokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer", "LlamaTokenizer", "TokenizersBackend"]
FLAGS = ["single_word", "lstrip", "rstrip", "normalized", "special"]


def files(draw: random.Random, base: dict) -> dict:
    """The files of a random directory."""

    def sometimes(share: float) -> bool:
        return draw.random() < share

    def flagged(content: str) -> dict:
        return token(content, **{flag: sometimes(0.4) for flag in FLAGS})

    def special() -> object:
        content = draw.choice(CONTENTS)
        if sometimes(0.5):
            return content
        left_out = [flag for flag in ["single_word", "normalized", "special"] if sometimes(0.3)]
        return {"__type": "AddedToken", **{name: value for name, value in flagged(content).items() if name not in left_out}}

    def some() -> list[dict]:
        return numbered([flagged(content) for content in draw.sample(CONTENTS, draw.randint(0, 4))], known)

    made: dict = {"config.json": dict(CONFIG)}
    if sometimes(0.3):
        made["config.json"]["tokenizer_class"] = draw.choice(CLASSES[:3])
    config: dict = {"tokenizer_class": draw.choice(CLASSES)} if sometimes(0.8) else {}
    for name in ["bos_token", "eos_token", "unk_token", "pad_token", "mask_token", "image_token"]:
        if sometimes(0.25):
            config[name] = None if sometimes(0.2) else special()
    for name in ["add_bos_token", "add_eos_token", "add_prefix_space", "split_special_tokens"]:
        if sometimes(0.3):
            config[name] = sometimes(0.6)
    if sometimes(0.2):
        config["additional_special_tokens"] = [special() for _ in range(draw.randint(0, 2))]
    if sometimes(0.2):
        config["extra_special_tokens"] = [special() for _ in range(draw.randint(0, 2))] if sometimes(0.6) else {"a_token": special(), "b_token": special()}
    model = base["model"]
    is_pair = sometimes(0.35)
    known = dict(model["vocab"]) if is_pair else {**model["vocab"], END: len(model["vocab"])}
    if sometimes(0.35):
        config["added_tokens_decoder"] = {str(each.pop("id")): each for each in some()}
    if sometimes(0.3):
        named: dict = {}
        for name in ["bos_token", "eos_token", "pad_token"]:
            if sometimes(0.4):
                value = special()
                named[name] = {key: flag for key, flag in value.items() if key not in ["__type", "special"]} if isinstance(value, dict) else value
        for name in ["extra_special_tokens", "additional_special_tokens"]:
            if sometimes(0.4):
                named[name] = [draw.choice(CONTENTS) for _ in range(2)]
        made["special_tokens_map.json"] = named
    if sometimes(0.3):
        made["added_tokens.json"] = {each["content"]: each["id"] for each in some()}
    if sometimes(0.9):
        made["tokenizer_config.json"] = config
    if is_pair:
        merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
        return {**made, "vocab.json": model["vocab"], "merges.txt": f"#version: 0.2\n{merges}"}
    changes: dict = {}
    if sometimes(0.4):
        changes["added_tokens"] = base["added_tokens"] + [each for each in some() if each["content"] != END]
    if sometimes(0.3):
        changes["normalizer"] = {"type": "NFC"}
    if sometimes(0.2):
        changes["pre_tokenizer"] = byte_level(add_prefix_space=True)
    elif sometimes(0.3):
        changes["pre_tokenizer"] = sequence(split(QWEN2), byte_level(use_regex=False))
    if sometimes(0.2):
        changes["post_processor"] = None
    if sometimes(0.2):
        changes["padding"] = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<y>"}
    return {**made, "tokenizer.json": {**base, **changes}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    base = figures.base()
    seen: collections.Counter = collections.Counter()
    with tempfile.TemporaryDirectory() as root:
        made = [files(draw, base) for _ in range(args.count)]
        directories = [write(pathlib.Path(root) / str(index), each) for index, each in enumerate(made)]
        listed = pathlib.Path(root) / "list.json"
        listed.write_text(json.dumps({"directories": [str(each) for each in directories], "texts": TEXTS}))
        command = ["node", str(HERE / "token-ids.mjs"), "encode", str(listed)]
        answers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for each, directory, answer in zip(made, directories, answers):
            try:
                tokenizer = AutoTokenizer.from_pretrained(directory)
                expected = {"bosToken": tokenizer.bos_token, "eosToken": tokenizer.eos_token, "ids": tokenizer(TEXTS)["input_ids"]}
            except Exception as error:
                expected = str(error)
            refused = answer.get("refused")
            if refused is not None and "cannot be used" not in refused:
                outcome = "OTHER  Roslin fails without naming the directory"
            elif refused is not None:
                outcome = "refused"
            else:
                outcome = "same" if answer == expected else "OTHER"
            seen[outcome] += 1
            if outcome.startswith("OTHER"):
                print(outcome, refused or "", json.dumps({name: content for name, content in each.items() if name not in ["tokenizer.json", "vocab.json", "merges.txt"]}))
    print(dict(seen))
    return 1 if any(outcome.startswith("OTHER") for outcome in seen) else 0


if __name__ == "__main__":
    sys.exit(main())
