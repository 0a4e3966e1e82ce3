"""Trains and publishes small models of every family, and checks what was published: python3 published.py [--only WORD] [--js DIRECTORY].

For each family a model of random weights with a small tokenizer goes through Roslin's stages: every weight trained; an adapter; an
adapter of a base in half precision, published as it is and merged. `check.py` then compares the published directory in
transformers, PEFT, onnxruntime and Roslin. Needs what check.py needs, tokenizers and a built dist/. Exits with 1 if something differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import figures
import torch
from shapes import AS_IT_IS, END, QWEN2, byte_level, sequence, split, write
from transformers import AutoConfig, AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAGES = ["download", "preprocess", "train", "evaluate", "publish"]

Json = dict[str, Any]

FAMILIES: dict[str, Json] = {
    "gptj": dict(model_type="gptj", n_layer=2, n_head=4, n_embd=48, rotary_dim=8, n_positions=256),
    "llama": dict(
        model_type="llama",
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        hidden_size=48,
        intermediate_size=75,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    ),
    "gpt-neox": dict(
        model_type="gpt_neox",
        num_hidden_layers=2,
        num_attention_heads=3,
        hidden_size=48,
        intermediate_size=96,
        max_position_embeddings=256,
    ),
}
QWEN: Json = {name: size for name, size in FAMILIES["llama"].items() if name != "model_type"}
FAMILIES |= {"qwen2": dict(model_type="qwen2", **QWEN), "qwen3": dict(model_type="qwen3", head_dim=12, **QWEN)}
TARGETS = {"gptj": ["q_proj", "v_proj", "fc_out"], "llama": ["q_proj", "v_proj", "down_proj"]}
# the base's type, and what differs from training every weight
WAYS: dict[str, tuple[str, Json]] = {
    "full": ("float32", {}),
    "adapter": ("float32", {"method": "lora"}),
    "adapter on fp16": ("float16", {"method": "lora"}),
    "merged into bf16": ("bfloat16", {"method": "lora", "merge": True}),
}
ROWS = [
    {"instruction": f"Name the {thing} of them: {number}?", "input": "", "output": f"The {thing} one, and {number} more things."}
    for thing in ["first", "other", "World", "end"]
    for number in range(12)
]


def make_base(directory: pathlib.Path, config: Json, dtype: str) -> None:
    """A model of random weights, and its tokenizer."""
    tokenizer = figures.base()
    if config["model_type"] == "qwen2":
        # whatever the files say, transformers splits a Qwen 2's text in its own way
        tokenizer |= dict(normalizer=dict(type="NFC"), pre_tokenizer=sequence(split(QWEN2), byte_level(use_regex=False)))
    size = len(tokenizer["model"]["vocab"]) + 1
    torch.manual_seed(7)
    settings = AutoConfig.for_model(vocab_size=size, bos_token_id=size - 1, eos_token_id=size - 1, **config)
    model = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)
    for weight in model.parameters():
        if weight.dim() == 2:
            # large enough that tokens are not close to each other, and that what came before matters
            torch.nn.init.normal_(weight, std=0.3)
    model.to(getattr(torch, dtype)).save_pretrained(directory)
    write(directory, {"tokenizer.json": tokenizer, "tokenizer_config.json": {**AS_IT_IS, "eos_token": END}})


def published(root: pathlib.Path, base: pathlib.Path, family: str, changes: Json) -> pathlib.Path:
    """Runs the stages; the directory that they published."""
    rows = root / "rows.json"
    rows.write_text(json.dumps(ROWS))
    train: Json = dict(shards=2, microBatch=2, maxSteps=6, learningRate=1e-2)
    if changes.get("method") == "lora":
        train |= dict(learningRate=3e-3, method="lora", lora=dict(rank=4, alpha=8, targets=TARGETS.get(family, "all-linear")))
    config = dict(
        model=dict(source=base.as_uri()),
        dataset=dict(source=rows.as_uri()),
        preprocess=dict(testRows=8),
        train=train,
        evaluate=dict(generateSamples=1),
        publish=dict(target=(root / "target").as_uri(), **({"merge": True} if changes.get("merge") else {})),
    )
    file = root / "run.json"
    file.write_text(json.dumps(config))
    for stage in STAGES:
        command = ["node", str(ROOT / "bin" / "roslin.js"), "stage", stage, "--config", str(file), "--dir", str(root / "stages")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    manifests = list((root / "target").glob("**/manifest.json"))
    assert len(manifests) == 1, f"{len(manifests)} manifests under {root / 'target'}"
    return manifests[0].parent


def checked(family: str, dtype: str, changes: Json, js: pathlib.Path | None) -> bool:
    """Whether all of a model that was trained and published in one way is the same."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        make_base(root / "base", FAMILIES[family], dtype)
        directory = published(root, root / "base", family, changes)
        is_adapter = (directory / "adapter_config.json").exists()
        assert is_adapter == ("method" in changes and "merge" not in changes), f"published: {sorted(directory.iterdir())}"
        adapter = ["--base", str(root / "base")] if is_adapter else []
        command = [sys.executable, str(HERE / "check.py"), str(directory), *adapter, *(["--js", str(js)] if js else [])]
        return subprocess.run(command).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="a part of the name of what is checked")
    parser.add_argument("--js", type=pathlib.Path)
    args = parser.parse_args()
    failed = []
    for family in FAMILIES:
        for way, (dtype, changes) in WAYS.items():
            name = f"{family}, {way}"
            if args.only not in name:
                continue
            print(f"{name}:", flush=True)
            try:
                same = checked(family, dtype, changes, args.js)
            except subprocess.CalledProcessError as error:
                print(f"OTHER  {' '.join(error.cmd)} ended with {error.returncode}", flush=True)
                same = False
            if not same:
                failed.append(name)
    print(f"{len(failed)} differ: {', '.join(failed)}" if failed else "all the same")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
