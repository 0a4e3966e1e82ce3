"""Makes PEFT's figures for adapters: PYTHONHASHSEED=0 python3 lora.py [CASE ...], after a build of Roslin.

Made with torch 2.15.0, transformers 5.24.0 and peft 0.21.2, one thread. A case of lora/ takes its base, rows and settings of
steps from a case of make.py. initial/ and final/ are the adapter's directories as PEFT saves them. A base in half precision lies
in base/: its weights are rounded once and everything is computed in fp32, as Roslin does. Logits are those of the rows' tokens
[tokens, words], one row after the other. merged.safetensors has the weights that merge_and_unload of the final adapter changes,
in the base's type. How far fp32 is from float64 is printed.
"""

import copy
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from make import HERE, Json, Row, Tensors, loss_of, save, share, trained

# the base, its type, the adapter's settings, and whether B begins at other numbers than PEFT's zero; every block has the same adapters
CASES: dict[str, tuple[str, str, Json, bool]] = {
    "gptj-list": ("gptj-odd", "float32", dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]), True),
    "gptj-zero": ("gptj-deep", "float32", dict(r=3, lora_alpha=3, target_modules="all-linear"), False),
    "llama-stabilized": (
        "llama-grouped",
        "float32",
        dict(r=5, lora_alpha=4, use_rslora=True, target_modules=["q_proj", "k_proj", "o_proj", "gate_proj", "down_proj"]),
        True,
    ),
    "llama-expression": (
        "llama-scaled",
        "bfloat16",
        dict(r=2, lora_alpha=5, target_modules=r"model\.layers\.\d+\.self_attn\.(q|v)_proj|.*\.(up|down)_proj"),
        True,
    ),
    "gpt-neox-patterns": (
        "gpt-neox-serial",
        "float32",
        dict(
            r=4,
            lora_alpha=8,
            target_modules="all-linear",
            rank_pattern={"dense": 1, r"mlp\.dense_.*": 7},
            alpha_pattern={r"attention\.query_key_value": 2, "dense_4h_to_h": 3},
        ),
        True,
    ),
    "gpt-neox-half": ("gpt-neox-tied", "float16", dict(r=6, lora_alpha=6, target_modules=["query_key_value", "dense"]), True),
}

# steps long enough that the adapters move by more than what a test could take for rounding
TRAIN: Json = dict(learningRate=5e-3, weightDecay=0.05)
PREFIX = "base_model.model."


def rows_of(expected: Json) -> list[Row]:
    """The rows of a case of make.py, without their padding."""
    columns = zip(expected["input_ids"], expected["attention_mask"], expected["labels"], strict=True)
    return [(ids[: sum(mask)], labels[: sum(mask)]) for ids, mask, labels in columns]


def half_base(source: pathlib.Path, directory: pathlib.Path, dtype: str) -> None:
    """The model of `source` with its weights in another type."""
    directory.mkdir(exist_ok=True)
    weights = load_file(source / "model.safetensors")
    save(directory / "model.safetensors", [(name, weight.to(getattr(torch, dtype))) for name, weight in weights.items()])
    config = json.loads((source / "config.json").read_text()) | dict(dtype=dtype)
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def save_adapter(model: PeftModel, directory: pathlib.Path, base: str) -> None:
    model.peft_config["default"].base_model_name_or_path = base
    # whether the vocabulary changed would be asked of the hub
    model.save_pretrained(str(directory), save_embedding_layers=False)
    (directory / "README.md").unlink()


def gradients_of(model: PeftModel) -> Tensors:
    """By the names of PEFT's file."""
    return {name.replace(".default.", "."): weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def computed(model: PeftModel, rows: list[Row], steps: list[list[int]], train: Json) -> tuple[float, dict[str, Tensors], Json]:
    """The loss of all rows before training, tensors, and what the steps gave. `model` is trained."""
    loss, before = loss_of(model, rows)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = gradients_of(model)
    model.zero_grad()
    losses, norms = trained(model, rows, steps, train)
    with torch.no_grad():
        after_loss, after = loss_of(model, rows)
    tokens = torch.cat([torch.arange(before.shape[1]) < len(ids) for ids, _ in rows])
    logits = {name: tensor.detach().flatten(0, 1)[tokens] for name, tensor in [("before", before), ("after", after)]}
    tensors = {"logits": logits, "gradients": gradients, "adapter": get_peft_model_state_dict(model, save_embedding_layers=False)}
    return loss.item(), tensors, dict(training_losses=losses, gradient_norms_before_clipping=norms, loss_after=after_loss.item())


def make(name: str, source: str, dtype: str, settings: Json, begun: bool) -> None:
    torch.manual_seed(sum(name.encode()))
    directory = HERE / "lora" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    base = HERE / source
    if dtype != "float32":
        half_base(base, directory / "base", dtype)
        base = directory / "base"
    reference = json.loads((HERE / source / "expected.json").read_text())
    rows, steps = rows_of(reference), reference["steps"]
    train = reference["train"] | TRAIN
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(whole, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    if begun:
        for parameter, weight in model.named_parameters():
            if "lora_B" in parameter:
                torch.nn.init.normal_(weight, std=0.2)
    # where a directory may lie is nothing that a test should depend on
    saved_base = source if dtype == "float32" else f"{source}-{dtype}"
    save_adapter(model, directory / "initial", saved_base)
    exact_model = copy.deepcopy(model).double()
    loss, tensors, outcome = computed(model, rows, steps, train)
    save_adapter(model, directory / "final", saved_base)
    save(directory / "expected-logits.safetensors", tensors["logits"].items())
    save(directory / "expected-gradients.safetensors", tensors["gradients"].items())

    merging = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    merged = PeftModel.from_pretrained(merging, directory / "final").merge_and_unload()
    modules = {name.removeprefix(PREFIX): module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    save(directory / "merged.safetensors", [(f"{name}.weight", merged.get_submodule(name).weight) for name in modules])
    expected = dict(
        about="made by ../../lora.py", base=source, dtype=dtype, lora=settings, train=train, steps=steps, loss=loss, **outcome,
        modules={name: dict(r=module.r["default"], alpha=module.lora_alpha["default"], scaling=module.scaling["default"]) for name, module in modules.items()},  # noqa: E501
    )  # fmt: skip
    (directory / "expected.json").write_text(json.dumps(expected))
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)

    _, exact, exact_outcome = computed(exact_model, rows, steps, train)
    differences = {what: share(values, exact[what]) for what, values in tensors.items()}
    ours, theirs = ([*made["training_losses"], *made["gradient_norms_before_clipping"]] for made in (outcome, exact_outcome))
    differences["losses and norms"] = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True) if b > 0)
    moved = share(load_file(directory / "initial" / "adapter_model.safetensors"), tensors["adapter"])
    print(f"{name}: fp32 from float64:", ", ".join(f"{what} {worst:.1e}" for what, worst in differences.items()), f"moved {moved:.1e}")


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name, *CASES[name])


if __name__ == "__main__":
    main()
