"""Reads a published model as its users do, and compares: python3 check.py MODEL [--base DIRECTORY] [--js DIRECTORY].

MODEL is a published directory: a whole model (config.json, weights, tokenizer, onnx/), or an adapter of PEFT, whose base --base
names. Compared with transformers in fp32, for an adapter with PEFT on top, are
- the logits of the ONNX export in plain onnxruntime, to 1e-4 of the largest, and Roslin's own log-probabilities, to 1e-4;
- the greedy answers of onnxruntime (with its key-value cache, token by token), Roslin, `roslin generate` and, with --js,
  transformers.js from that directory's node_modules: the same tokens.
An adapter's file must hold what PEFT has in memory, and must change the logits. Needs torch, transformers, onnxruntime and, for an
adapter, peft, and a built dist/. Exits with 1 if something differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import onnxruntime  # type: ignore[import-untyped]
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOKENS = 24
QUESTIONS = ["Which day follows this day?", "Name this animal's home.", "Say something nobody taught you: ß, 東京, 🐑."]
# as in core/text/prompt.ts
PROMPT = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Response:\n"  # noqa: E501
END = "### End"
ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"]

Cache = dict[str, numpy.ndarray]


class Report:
    """What was compared, and whether all of it was the same."""

    failed = False

    def add(self, what: str, same: bool, detail: str) -> None:
        self.failed |= not same
        print(f"{'same  ' if same else 'OTHER '} {what}: {detail}", flush=True)

    def tokens(self, client: str, got: list[int], expected: list[int]) -> None:
        self.add(client, got == expected, f"{len(expected)} tokens" if got == expected else f"{got} instead of {expected}")


def onnx_logits(session: onnxruntime.InferenceSession, ids: numpy.ndarray, cache: Cache, before: int) -> tuple[numpy.ndarray, Cache]:
    """Logits of `ids` [1, T] after `before` cached tokens, [T, words], and the cache with them."""
    feeds = {
        "input_ids": ids,
        "attention_mask": numpy.ones((1, before + ids.shape[1]), dtype=numpy.int64),
        "position_ids": numpy.arange(before, before + ids.shape[1], dtype=numpy.int64)[None],
        "num_logits_to_keep": numpy.array(ids.shape[1], dtype=numpy.int64),
        **cache,
    }
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(names, {feed.name: feeds[feed.name] for feed in session.get_inputs()}), strict=True))
    kept = {name.replace("present", "past_key_values"): value for name, value in values.items() if name != "logits"}
    return values["logits"][0], kept


def empty_cache(session: onnxruntime.InferenceSession) -> Cache:
    shapes = {feed.name: feed.shape for feed in session.get_inputs() if feed.name.startswith("past_key_values")}
    return {name: numpy.zeros((1, heads, 0, width), dtype=numpy.float32) for name, (_, heads, _, width) in shapes.items()}


def onnx_greedy(session: onnxruntime.InferenceSession, ids: list[int], ends: Sequence[int]) -> list[int]:
    said: list[int] = []
    cache, before = empty_cache(session), 0
    step = numpy.array([ids], dtype=numpy.int64)
    while len(said) < TOKENS:
        logits, cache = onnx_logits(session, step, cache, before)
        before += step.shape[1]
        token = int(logits[-1].argmax())
        if token in ends:
            break
        said.append(token)
        step = numpy.array([[token]], dtype=numpy.int64)
    return said


def command(*args: str, text: str | None = None) -> str:
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True, input=text).stdout


@dataclass
class Published:
    """A published directory in the hands of its users."""

    directory: pathlib.Path
    # what Roslin opens: of an adapter, its base's files and its own side by side
    whole: pathlib.Path
    model: Any
    tokenizer: Any
    # tokens that end an answer
    ends: list[int]


def opened(directory: pathlib.Path, base: pathlib.Path | None, scratch: pathlib.Path, report: Report) -> Published:
    whole = directory
    if base is None:
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    else:
        whole = scratch / "model"
        whole.mkdir()
        for file in [*base.iterdir(), *(directory / name for name in ADAPTER_FILES)]:
            if file.parent != base or file.name not in ADAPTER_FILES:
                (whole / file.name).symlink_to(file.resolve())
        model = with_adapter(directory, base, report)
    assert model.config.use_cache, "config.json lacks use_cache"
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return Published(directory, whole, model, AutoTokenizer.from_pretrained(directory), ends)


def with_adapter(directory: pathlib.Path, base: pathlib.Path, report: Report) -> Any:
    from peft import PeftModel, get_peft_model_state_dict

    def plain() -> Any:
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()

    model: Any = PeftModel.from_pretrained(plain(), str(directory)).eval()
    file = load_file(directory / ADAPTER_FILES[1])
    held = get_peft_model_state_dict(model, save_embedding_layers=False)
    same = file.keys() == held.keys() and all(torch.equal(file[name], held[name]) for name in file)
    report.add("the adapter's file is what PEFT holds", same, f"{len(file)} tensors, {len(held)} in memory")
    report.add("the adapter's file is in fp32", {tensor.dtype for tensor in file.values()} == {torch.float32}, f"{len(file)} tensors")
    ids = torch.tensor([[1, 2, 3, 4]])
    merged: Any = PeftModel.from_pretrained(plain(), str(directory)).merge_and_unload()
    with torch.no_grad():
        tuned, untuned, whole = (each(ids).logits for each in (model, plain(), merged))
    report.add("the adapter changes the logits", not torch.equal(tuned, untuned), f"by {float((tuned - untuned).abs().max()):.1e}")
    worst = float((tuned - whole).abs().max() / tuned.abs().max())
    report.add("merging keeps the logits", worst <= 1e-4, f"{worst:.1e} of the largest")
    return model


def check(published: Published, question: str, js: pathlib.Path | None, report: Report) -> None:
    """All clients on one question."""
    prompt = PROMPT.format(question)
    ids: list[int] = published.tokenizer(prompt)["input_ids"]
    with torch.no_grad():
        logits = published.model(input_ids=torch.tensor([ids])).logits[0]
        pad = published.ends[0] if published.ends else 0
        said = published.model.generate(input_ids=torch.tensor([ids]), do_sample=False, max_new_tokens=TOKENS, pad_token_id=pad)[
            0, len(ids) :
        ].tolist()  # noqa: E501
    while said and said[-1] in published.ends:
        said.pop()
    expected = logits.numpy()

    export = published.directory / "onnx" / "model.onnx"
    if export.exists():
        session = onnxruntime.InferenceSession(export)
        got, _ = onnx_logits(session, numpy.array([ids], dtype=numpy.int64), empty_cache(session), 0)
        worst = float(numpy.abs(got - expected).max() / numpy.abs(expected).max())
        report.add(f"logits of {len(ids)} tokens in onnxruntime", worst <= 1e-4, f"{worst:.1e} of the largest")
        report.tokens("onnxruntime with cache", onnx_greedy(session, ids, published.ends), said)

    answer = json.loads(command("node", str(HERE / "check-roslin.mjs"), str(published.whole), str(TOKENS), text=json.dumps(ids)))
    likely = logits.log_softmax(-1)
    off = max(abs(float(likely[at - 1, ids[at]]) - value) for at, value in answer["logProbabilities"])
    report.add(f"log-probabilities of {len(answer['logProbabilities'])} tokens in Roslin", off <= 1e-4, f"off by at most {off:.1e}")
    report.tokens("Roslin", answer["tokens"], said)

    if js is not None and export.exists():
        answer = json.loads(command("node", str(HERE / "check.mjs"), str(js), str(published.directory), prompt, str(TOKENS)))
        report.tokens("transformers.js", [token for token in answer if token not in published.ends], said)
    asked = ["generate", str(published.whole), "--template", "dolly", "--prompt", question, "--max-tokens", str(TOKENS)]
    roslin = command("node", str(ROOT / "bin" / "roslin.js"), *asked).strip()
    text = published.tokenizer.decode(said, skip_special_tokens=True).split(END)[0].strip()
    report.add("roslin generate", roslin == text, repr(text) if roslin == text else f"{roslin!r} instead of {text!r}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--base", type=pathlib.Path, help="the directory of an adapter's base")
    parser.add_argument("--js", type=pathlib.Path)
    args = parser.parse_args()
    directory = args.model.resolve()
    is_adapter = (directory / ADAPTER_FILES[0]).exists()
    if is_adapter != (args.base is not None):
        parser.error("MODEL is an adapter: name its base with --base" if is_adapter else "--base is about an adapter, and MODEL is none")
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        published = opened(directory, args.base and args.base.resolve(), pathlib.Path(scratch), report)
        for question in QUESTIONS:
            check(published, question, args.js and args.js.resolve(), report)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
