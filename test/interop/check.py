"""Reads a published model as its users do, and compares: python3 check.py MODEL [--js DIRECTORY].

MODEL is a published directory (config.json, weights, tokenizer, onnx/). The logits of the ONNX export in plain onnxruntime
must equal those of transformers in fp32, to 1e-4 of the largest. The greedy answers of transformers, onnxruntime (with its
key-value cache, token by token), `roslin generate` and, with --js, transformers.js from that directory's node_modules must be
the same tokens. Needs torch, transformers and onnxruntime. Exits with 1 if something differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy
import onnxruntime
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENS = 24
QUESTIONS = ["Which day follows this day?", "Name this animal's home.", "Say something nobody taught you: ß, 東京, 🐑."]
# as in core/text/prompt.ts
PROMPT = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Response:\n"
END = "### End"


def onnx_logits(session: onnxruntime.InferenceSession, ids: numpy.ndarray, cache: dict, before: int) -> tuple[numpy.ndarray, dict]:
    """Logits of `ids` [1, T] after `before` cached tokens, [T, words], and the cache with them."""
    feeds = {
        "input_ids": ids,
        "attention_mask": numpy.ones((1, before + ids.shape[1]), dtype=numpy.int64),
        "position_ids": numpy.arange(before, before + ids.shape[1], dtype=numpy.int64)[None],
        "num_logits_to_keep": numpy.array(ids.shape[1], dtype=numpy.int64),
        **cache,
    }
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(names, {feed.name: feeds[feed.name] for feed in session.get_inputs()})))
    kept = {name.replace("present", "past_key_values"): value for name, value in values.items() if name != "logits"}
    return values["logits"][0], kept


def empty_cache(session: onnxruntime.InferenceSession) -> dict:
    shapes = {feed.name: feed.shape for feed in session.get_inputs() if feed.name.startswith("past_key_values")}
    return {name: numpy.zeros((1, heads, 0, width), dtype=numpy.float32) for name, (_, heads, _, width) in shapes.items()}


def onnx_greedy(session: onnxruntime.InferenceSession, ids: list[int], end: int) -> list[int]:
    said, cache, before = [], empty_cache(session), 0
    step = numpy.array([ids], dtype=numpy.int64)
    while len(said) < TOKENS:
        logits, cache = onnx_logits(session, step, cache, before)
        before += step.shape[1]
        said.append(int(logits[-1].argmax()))
        if said[-1] == end:
            break
        step = numpy.array([said[-1:]], dtype=numpy.int64)
    return said


def command(*args: str) -> str:
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--js", type=pathlib.Path)
    args = parser.parse_args()
    directory = args.model.resolve()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    session = onnxruntime.InferenceSession(directory / "onnx" / "model.onnx")
    assert model.config.use_cache, "config.json lacks use_cache"
    end = model.config.eos_token_id
    failed = False

    def report(what: str, same: bool, detail: str) -> None:
        nonlocal failed
        failed |= not same
        print(f"{'same  ' if same else 'OTHER '} {what}: {detail}")

    for question in QUESTIONS:
        prompt = PROMPT.format(question)
        ids = tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].numpy()
            said = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=TOKENS, pad_token_id=end)[0, len(ids) :].tolist()
        got, _ = onnx_logits(session, numpy.array([ids], dtype=numpy.int64), empty_cache(session), 0)
        worst = float(numpy.abs(got - expected).max() / numpy.abs(expected).max())
        report(f"logits of {len(ids)} tokens", worst <= 1e-4, f"{worst:.1e} of the largest")
        answers = {"onnxruntime with cache": onnx_greedy(session, ids, end)}
        if args.js is not None:
            script = pathlib.Path(__file__).with_name("check.mjs")
            answers["transformers.js"] = json.loads(command("node", str(script), str(args.js.resolve()), str(directory), prompt, str(TOKENS)))
        for client, tokens in answers.items():
            report(client, tokens == said, f"{len(said)} tokens" if tokens == said else f"{tokens} instead of {said}")
        roslin = command("node", str(ROOT / "bin" / "roslin.js"), "generate", str(directory), "--prompt", question, "--max-tokens", str(TOKENS))
        text = tokenizer.decode(said, skip_special_tokens=True).split(END)[0].strip()
        report("roslin generate", roslin.strip() == text, repr(text) if roslin.strip() == text else f"{roslin.strip()!r} instead of {text!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
