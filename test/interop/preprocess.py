"""Compares the tokens of 10,000 rows in each format with those of datasets and tokenizers: python3 test/interop/preprocess.py [NAME …].

Each case writes the same rows as its users write them, runs `roslin stage download` and `roslin stage preprocess` on the
file, and compares every line of `roslin inspect --json` with what Python makes of the file: read by datasets, put into the
prompt here or by transformers' chat template, encoded by the same tokenizer.json in transformers. Rows of Alpaca and of
conversations have quotes, line feeds, separators, and letters of many scripts. Needs datasets, transformers, zstandard,
numpy and safetensors, and `npm run setup`. NAME: only these cases. Exits with 1 if something differs.
"""

import csv
import gzip
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import datasets
import numpy
import zstandard
from safetensors.numpy import save_file
from transformers import AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = 10_000
CUT = 256
IGNORED = -100
END = 50256
WORDS = ["sheep", "Étoile", "東京", "naïve", "🐑", "e\u0301", "don't", "1997", "  ", "\t", "x;y", "a,b", '"quoted"', "'single'", "multi\nline", "C:\\path", "{brace}", "ß", "\u00a0", "end.", "### End", "مرحبا", "नमस्ते"]
HEAD = "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n### Instruction:\n"
CONTEXT = ", paired with an input that provides further context"
CHAT = "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"


def sentence(draw: random.Random, most: int) -> str:
    return "say " + " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))


def alpaca(draw: random.Random) -> dict:
    return {"instruction": sentence(draw, 20), "input": sentence(draw, 20) if draw.random() < 0.4 else "", "output": sentence(draw, 60)}


def dolly15k(draw: random.Random) -> dict:
    row = alpaca(draw)
    return {"instruction": row["instruction"], "context": row["input"], "response": row["output"], "category": draw.choice(["open_qa", "brainstorming"])}


def turns(draw: random.Random) -> list[tuple[str, str]]:
    system = [("system", sentence(draw, 8))] if draw.random() < 0.3 else []
    return system + [(role, sentence(draw, 15)) for _ in range(draw.randint(1, 3)) for role in ("user", "assistant")]


def messages(draw: random.Random) -> dict:
    return {"messages": [{"role": role, "content": text} for role, text in turns(draw)]}


def sharegpt(draw: random.Random) -> dict:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names[role], "value": text} for role, text in turns(draw)]}


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_csv(path: pathlib.Path, rows: list[dict], delimiter: str = ",") -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_gzip(path: pathlib.Path, text: str) -> None:
    # two members, as appending to a file makes them
    half = text.index("\n", len(text) // 2) + 1
    path.write_bytes(gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode()))


def saved(path: pathlib.Path, rows: list[dict]) -> None:
    datasets.Dataset.from_list(rows).save_to_disk(path, num_shards=3)


def load(builder: str, **options):
    return lambda path: datasets.load_dataset(builder, data_files=str(path), split="train", **options)


# name: file, writer, reader of datasets, maker of rows, prompt
CASES = {
    "json": ("rows.json", lambda p, r: p.write_text(json.dumps(r)), load("json"), alpaca, "dolly"),
    "json-below-a-key": ("rows.json", lambda p, r: p.write_text(json.dumps({"version": "1.0", "data": r})), load("json", field="data"), alpaca, "dolly"),
    "jsonl": ("rows.jsonl", lambda p, r: p.write_text(lines(r)), load("json"), alpaca, "dolly"),
    "jsonl.gz": ("rows.jsonl.gz", lambda p, r: write_gzip(p, lines(r)), load("json"), alpaca, "dolly"),
    "json.zst": ("rows.json.zst", lambda p, r: p.write_bytes(zstandard.compress(json.dumps(r).encode())), load("json"), alpaca, "dolly"),
    "csv": ("rows.csv", write_csv, load("csv", keep_default_na=False), alpaca, "dolly"),
    "csv-semicolons": ("rows.csv", lambda p, r: write_csv(p, r, ";"), load("csv", sep=";", keep_default_na=False), alpaca, "dolly"),
    "tsv": ("rows.tsv", lambda p, r: write_csv(p, r, "\t"), load("csv", sep="\t", keep_default_na=False), alpaca, "dolly"),
    "csv.gz": ("rows.csv.gz", lambda p, r: (write_csv(p.with_suffix(""), r), p.write_bytes(gzip.compress(p.with_suffix("").read_bytes())), p.with_suffix("").unlink()), load("csv", keep_default_na=False), alpaca, "dolly"),
    "parquet": ("rows.parquet", lambda p, r: datasets.Dataset.from_list(r).to_parquet(p, batch_size=1000), load("parquet"), alpaca, "dolly"),
    "save_to_disk": ("saved", saved, lambda p: datasets.load_from_disk(str(p)), alpaca, "dolly"),
    "dolly-15k": ("rows.jsonl", lambda p, r: p.write_text(lines(r)), load("json"), dolly15k, "dolly"),
    "alpaca-prompt": ("rows.json", lambda p, r: p.write_text(json.dumps(r)), load("json"), alpaca, "alpaca"),
    "template": ("rows.json", lambda p, r: p.write_text(json.dumps(r)), load("json"), alpaca, {"template": "Q: {{ instruction }}{% if input %} ({{ input }}){% endif %}{{ '\\n' }}A: {{ output }}"}),
    "messages": ("rows.jsonl", lambda p, r: p.write_text(lines(r)), load("json"), messages, "chat"),
    "messages-parquet": ("rows.parquet", lambda p, r: datasets.Dataset.from_list(r).to_parquet(p, batch_size=1000), load("parquet"), messages, "chat"),
    "sharegpt": ("rows.json", lambda p, r: p.write_text(json.dumps(r)), load("json"), sharegpt, "chat"),
}


def write_model(directory: pathlib.Path) -> None:
    """A GPT-J of a few weights with GPT-2's tokenizer and a chat template."""
    directory.mkdir()
    script = "import { gpt2Tokenizer, TOKENIZER_CONFIG } from './dist/demo/tokenizer.js'; console.log(JSON.stringify([gpt2Tokenizer(), TOKENIZER_CONFIG]))"
    tokenizer, config = json.loads(roslin_root("node", "--input-type=module", "-e", script))
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    (directory / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": CHAT}))
    shape = dict(model_type="gptj", vocab_size=50400, n_embd=4, n_head=1, n_layer=1, rotary_dim=2, n_positions=1024, bos_token_id=END, eos_token_id=END, tie_word_embeddings=False)
    (directory / "config.json").write_text(json.dumps(shape))
    block = {f"attn.{name}_proj.weight": (4, 4) for name in "qkv"} | {"attn.out_proj.weight": (4, 4), "ln_1.weight": (4,), "ln_1.bias": (4,)}
    block |= {"mlp.fc_in.weight": (16, 4), "mlp.fc_in.bias": (16,), "mlp.fc_out.weight": (4, 16), "mlp.fc_out.bias": (4,)}
    sizes = {f"transformer.h.0.{name}": size for name, size in block.items()} | {"transformer.wte.weight": (50400, 4), "transformer.ln_f.weight": (4,), "transformer.ln_f.bias": (4,), "lm_head.weight": (50400, 4), "lm_head.bias": (50400,)}
    save_file({name: numpy.zeros(size, numpy.float32) for name, size in sizes.items()}, directory / "model.safetensors", metadata={"format": "pt"})


def roslin_root(*args: str) -> str:
    return subprocess.run(args, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def conversation(row: dict) -> list[dict]:
    if "messages" in row:
        return [{"role": turn["role"], "content": turn["content"]} for turn in row["messages"]]
    names = {"system": "system", "human": "user", "gpt": "assistant"}
    return [{"role": names[turn["from"]], "content": turn["value"]} for turn in row["conversations"]]


def pieces(tokenizer, row: dict, prompt) -> list[tuple[str, bool]]:
    """The row's text in parts, and whether each carries loss."""
    if prompt == "chat":
        turns, parts, said = conversation(row), [], ""
        for at, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            asked = tokenizer.apply_chat_template(turns[:at], tokenize=False, add_generation_prompt=True)
            whole = tokenizer.apply_chat_template(turns[: at + 1], tokenize=False)
            answer = whole[len(asked) :]
            # what stands after the end of a turn is not said by the model
            stop = answer.rindex(tokenizer.eos_token) + len(tokenizer.eos_token)
            parts += [(asked[len(said) :], False), (answer[:stop], True), (answer[stop:], False)]
            said = whole
        return parts
    instruction, given, output = row["instruction"], row.get("input", row.get("context")) or "", row.get("output", row.get("response"))
    if isinstance(prompt, dict):
        return [(f"Q: {instruction}{f' ({given})' if given else ''}\nA: ", False), (f"{output}{tokenizer.eos_token}", True)]
    head = HEAD.format(CONTEXT if given else "") + instruction + "\n\n" + (f"### Input:\n{given}\n\n" if given else "")
    if prompt == "alpaca":
        return [(head + "### Response:", False), (f"{output}{tokenizer.eos_token}", True)]
    return [(head + "### Response:\n", False), (f"{output}\n\n### End", True)]


def expected(tokenizer, row: dict, prompt) -> tuple[list[int], list[int]]:
    parts = pieces(tokenizer, row, prompt)
    encoded = tokenizer("".join(text for text, _ in parts), return_offsets_mapping=True, add_special_tokens=prompt != "chat")
    scored = [carries for text, carries in parts for _ in text]
    ids = encoded["input_ids"]
    # a token that is in part the answer is learned
    labels = [token if any(scored[start:end]) else IGNORED for token, (start, end) in zip(ids, encoded["offset_mapping"])]
    if prompt == "dolly":
        labels = [IGNORED if label == END else label for label in labels]
    return ids[:CUT], labels[:CUT]


def compare(name: str, model: pathlib.Path, place: pathlib.Path) -> bool:
    file, write, read, make, prompt = CASES[name]
    draw = random.Random(name)
    path = place / file
    write(path, [make(draw) for _ in range(ROWS)])
    config = {"model": {"source": model.as_uri()}, "dataset": {"source": path.as_uri()}, "preprocess": {"prompt": prompt, "maxLength": CUT, "testRows": 10}}
    (place / "config.json").write_text(json.dumps(config))
    stages = place / "stages"
    for stage in ("download", "preprocess"):
        roslin_root("node", "bin/roslin.js", "stage", stage, "--config", str(place / "config.json"), "--dir", str(stages), "--json")
    got = {line["row"]: line for line in map(json.loads, roslin_root("node", "bin/roslin.js", "inspect", str(stages), "--json").splitlines())}
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = read(path)
    wrong = []
    for index, row in enumerate(rows):
        ids, labels = expected(tokenizer, row, prompt)
        if all(label == IGNORED for label in labels[1:]):
            if index in got:
                wrong.append(f"row {index} has no label and was kept")
        elif index not in got:
            wrong.append(f"row {index} is not there")
        elif (got[index]["input_ids"], got[index]["labels"]) != (ids, labels):
            wrong.append(f"row {index}: {got[index]} instead of {dict(input_ids=ids, labels=labels)}")
    print(f"{'same  ' if not wrong else 'OTHER '} {name}: {len(got)} of {len(rows)} rows have tokens" + "".join(f"\n    {line[:2000]}" for line in wrong[:2]), flush=True)
    return not wrong


def main() -> int:
    names = sys.argv[1:] or list(CASES)
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        write_model(place / "model")
        results = []
        for name in names:
            (place / name).mkdir()
            results.append(compare(name, place / "model", place / name))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
