"""Compares a whole model in Roslin with transformers, after a build: python3 model.py MODEL.

MODEL is a directory with config.json, weights and tokenizer. The logits of the graphs that train, of five prompts end to end,
must equal those of transformers in fp32 to 1e-4 of the largest, and the greedy tokens of the decoder those of `generate`.
Exits with 1 if something differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 24
BOUND = 1e-4
PROMPTS = [
    "Name three colours.",
    "The capital of France is",
    "def fibonacci(n):\n    if n < 2:\n",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nWrite a sentence about sheep: ß, 東京, 🐑.\n\n### Response:\n",  # noqa: E501
    "Once upon a time, in a village by the sea, there lived an old fisherman. " * 12,
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=pathlib.Path)
    directory = parser.parse_args().model.resolve()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    logits, answers = [], []
    for ids in prompts:
        with torch.no_grad():
            logits.append(model(torch.tensor([ids])).logits[0].numpy())
            answer = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0)[0, len(ids) :].tolist()
        answers.append(answer[:-1] if answer[-1] in ends else answer)
    del model
    with tempfile.NamedTemporaryFile() as out:
        script = pathlib.Path(__file__).with_suffix(".mjs")
        command = ["node", str(script), str(directory), str(TOKENS), out.name]
        got_answers = json.loads(subprocess.run(command, input=json.dumps(prompts), check=True, capture_output=True, text=True).stdout)
        got_logits = numpy.fromfile(out.name, dtype="<f4").reshape(-1, logits[0].shape[1])
    failed = False
    first = 0
    for prompt, expected, answer, got_answer in zip(PROMPTS, logits, answers, got_answers, strict=True):
        got = got_logits[first : first + len(expected)]
        first += len(expected)
        worst = float(numpy.abs(got - expected).max() / numpy.abs(expected).max())
        same = worst <= BOUND and answer == got_answer
        failed |= not same
        tokens = f"{len(answer)} tokens" if answer == got_answer else f"{got_answer} instead of {answer}"
        print(f"{'same  ' if same else 'OTHER '} {prompt[:30]!r}: logits of {len(expected)} tokens {worst:.1e} of the largest, {tokens}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
