"""The peer of `roslin bench preprocess --against PYTHON`: the same rows through Hugging Face's datasets and the Rust tokenizer.

    datasets_map.py DIRECTORY OUTPUT PROCESSES

Reads DIRECTORY/rows.jsonl, makes Dolly's prompts, tokens and labels with `datasets.map` in batches, saves them to OUTPUT and
digests every file. Prints a line of figures; the seconds are those from the first read to the last digest. Needs datasets and
tokenizers.
"""

import hashlib
import json
import os
import sys
import time

directory, output, processes = sys.argv[1:]
os.environ.update(HF_HOME=os.path.join(output, "home"), HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="true" if processes == "1" else "false")

import datasets  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

datasets.disable_progress_bars()

MAX_LENGTH = 1024
IGNORED = -100
KEY_TEXT = "### Response:\n"
INTRO = "Below is an instruction that describes a task"
CONTEXT = ", paired with an input that provides further context"
REQUEST = ". Write a response that appropriately completes the request.\n\n### Instruction:\n"

tokenizer = Tokenizer.from_file(os.path.join(directory, "model", "tokenizer.json"))
key = tokenizer.encode(KEY_TEXT).ids


def text_of(instruction, context, response):
    section = f"### Input:\n{context}\n\n" if context else ""
    return f"{INTRO}{CONTEXT if context else ''}{REQUEST}{instruction}\n\n{section}{KEY_TEXT}{response}\n\n### End"


def labels_of(ids):
    start = ids.index(key[0])
    while ids[start : start + len(key)] != key:
        start = ids.index(key[0], start + 1)
    end = start + len(key)
    return [IGNORED] * end + ids[end:]


def tokens_of(batch):
    texts = [text_of(*row) for row in zip(batch["instruction"], batch["input"], batch["output"])]
    ids = [encoding.ids[:MAX_LENGTH] for encoding in tokenizer.encode_batch(texts)]
    return {"input_ids": ids, "labels": [labels_of(row) for row in ids]}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    started = time.perf_counter()
    rows = datasets.load_dataset("json", data_files=os.path.join(directory, "rows.jsonl"), split="train")
    several = None if processes == "1" else int(processes)
    made = rows.map(tokens_of, batched=True, num_proc=several, remove_columns=rows.column_names)
    target = os.path.join(output, "tokens")
    made.save_to_disk(target)
    digests = [digest(os.path.join(target, name)) for name in sorted(os.listdir(target))]
    seconds = time.perf_counter() - started
    tokens = sum(len(ids) for ids in made["input_ids"])
    labels = sum(label != IGNORED for row in made["labels"] for label in row[1:])
    print(json.dumps({"seconds": seconds, "tokens": tokens, "labels": labels, "files": len(digests)}))
