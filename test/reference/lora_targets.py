"""Makes lora-targets.json: which modules PEFT 0.21.2 gives an adapter, by which settings. In this directory:
PYTHONHASHSEED=0 python3 lora_targets.py

Each case has its module names with [rank, alpha, scaling], in the model's order, or the error; and what PEFT warns of. An adapter of
an embedding is named in `embeddings` too.
"""

import json
import warnings
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from make import HERE, Json

MODELS: dict[str, Json] = {
    # twelve layers: 1 is not 11
    "gptj": dict(model_type="gptj", n_layer=12, n_head=1, n_embd=16, rotary_dim=4, n_inner=24, vocab_size=5, n_positions=8),
    "llama": dict(model_type="llama", num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, hidden_size=16, intermediate_size=24, vocab_size=5, max_position_embeddings=8),  # fmt: skip # noqa: E501
    "llama-tied": dict(model_type="llama", num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, hidden_size=16, intermediate_size=24, vocab_size=5, max_position_embeddings=8, tie_word_embeddings=True),  # fmt: skip # noqa: E501
    "gpt_neox": dict(model_type="gpt_neox", num_hidden_layers=3, num_attention_heads=2, hidden_size=16, intermediate_size=24, vocab_size=5, max_position_embeddings=8),  # fmt: skip # noqa: E501
}  # fmt: skip

QV = ["q_proj", "v_proj"]

CASES: list[tuple[str, str, Json]] = [
    # without targets: PEFT's own by family
    ("the family's own targets", "gptj", {}),
    ("the family's own targets", "llama", {}),
    ("the family's own targets", "gpt_neox", {}),
    ("an empty list", "llama", dict(target_modules=[])),
    # lists: a name's end, anchored at a dot
    ("a list of last names", "gptj", dict(target_modules=QV, r=4, lora_alpha=6)),
    ("a list of last names", "llama", dict(target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])),
    ("a list of last names", "gpt_neox", dict(target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"])),
    ("a part of a last name", "llama", dict(target_modules=["proj"])),
    ("a name that is the end of another", "gpt_neox", dict(target_modules=["dense"])),
    ("a list with one name that matches nothing", "llama", dict(target_modules=["q_proj", "query"])),
    ("a name with its parent", "gptj", dict(target_modules=["attn.q_proj"])),
    ("a name with its layer", "gptj", dict(target_modules=["h.1.attn.q_proj"])),
    ("a number that is the end of another", "gptj", dict(target_modules=["1.attn.q_proj"])),
    ("a whole name", "llama", dict(target_modules=["model.layers.2.mlp.up_proj"])),
    ("a whole name as PEFT's file has it", "llama", dict(target_modules=["base_model.model.model.layers.2.mlp.up_proj"])),
    ("a list does not hold expressions", "llama", dict(target_modules=[".*_proj"])),
    ("a name in another case", "llama", dict(target_modules=["Q_PROJ"])),
    ("a block that is not linear", "llama", dict(target_modules=["mlp"])),
    ("a norm", "gptj", dict(target_modules=["ln_1"])),
    ("an embedding", "gptj", dict(target_modules=["wte", "q_proj"])),
    ("a head", "gptj", dict(target_modules=["lm_head", "out_proj"])),
    ("a head", "gpt_neox", dict(target_modules=["lm_head"])),
    ("a tied head", "llama-tied", dict(target_modules=["lm_head", "q_proj"])),
    # strings: an expression that must match the whole name
    ("an expression", "gptj", dict(target_modules=r".*\.(q|v)_proj")),
    ("an expression that matches the end alone", "gptj", dict(target_modules="q_proj")),
    ("an expression of layers", "gptj", dict(target_modules=r"transformer\.h\.[13]\..*fc_(in|out)")),
    ("an expression without escapes", "gptj", dict(target_modules="transformer.h.1.attn.q_proj")),
    ("an expression that looks ahead", "llama", dict(target_modules=r"model\.layers\.\d+\.(?!mlp).*_proj")),
    ("an expression that is not one", "llama", dict(target_modules=r".*\.(q_proj")),
    ("an expression that matches the head too", "gpt_neox", dict(target_modules=r".*(lm_head|dense)")),
    ("an expression in Python's own spelling", "llama", dict(target_modules=r"(?i).*\.(?P<name>Q|V)_PROJ\Z")),
    # all-linear: not the head
    ("all-linear", "gptj", dict(target_modules="all-linear")),
    ("all-linear", "llama", dict(target_modules="all-linear")),
    ("all-linear", "llama-tied", dict(target_modules="all-linear")),
    ("all-linear", "gpt_neox", dict(target_modules="All-Linear")),
    ("all-linear in a list", "llama", dict(target_modules=["all-linear"])),
    # left out
    ("all-linear but some", "gpt_neox", dict(target_modules="all-linear", exclude_modules=["dense", "1.mlp.dense_4h_to_h"])),
    ("left out by an expression", "gptj", dict(target_modules=QV, exclude_modules=r".*h\.\d\..*q_proj")),
    ("left out by an expression of an end", "llama", dict(target_modules=QV, exclude_modules="q_proj")),
    ("left out by a whole name", "llama", dict(target_modules=QV, exclude_modules=["model.layers.0.self_attn.q_proj"])),
    ("a block is left out", "llama", dict(target_modules=QV, exclude_modules=["layers.0", "self_attn"])),
    ("what is left out matches nothing", "llama", dict(target_modules=QV, exclude_modules=["fc_in"])),
    ("everything is left out", "llama", dict(target_modules=QV, exclude_modules=QV)),
    # layers
    ("one layer", "gptj", dict(target_modules=QV, layers_to_transform=1)),
    ("some layers", "gptj", dict(target_modules=QV, layers_to_transform=[0, 11])),
    ("layers that are not there", "gptj", dict(target_modules=QV, layers_to_transform=[11, 12])),
    ("no layer that is there", "gptj", dict(target_modules=QV, layers_to_transform=[12])),
    ("a negative layer", "gptj", dict(target_modules=QV, layers_to_transform=[-1])),
    ("an empty list of layers", "llama", dict(target_modules=QV, layers_to_transform=[])),
    ("layers and their list's name", "gptj", dict(target_modules=QV, layers_to_transform=[2], layers_pattern="h")),
    ("layers and several names of lists", "llama", dict(target_modules=QV, layers_to_transform=[2], layers_pattern=["h", "layers"])),
    ("layers and another list's name", "gptj", dict(target_modules=QV, layers_to_transform=[2], layers_pattern="layers")),
    ("a list's name without layers", "gptj", dict(target_modules=QV, layers_pattern="h")),
    (
        "layers and a whole name in another layer",
        "llama",
        dict(target_modules=["q_proj", "model.layers.2.mlp.up_proj"], layers_to_transform=[0]),
    ),  # noqa: E501
    ("layers and an expression", "gptj", dict(target_modules=r".*\.q_proj", layers_to_transform=[1])),
    ("layers and all-linear", "gptj", dict(target_modules="all-linear", layers_to_transform=[1])),
    ("layers and the head", "gptj", dict(target_modules=["lm_head", "q_proj"], layers_to_transform=[1])),
    # ranks and alphas
    ("rsLoRA", "llama", dict(target_modules=QV, r=4, lora_alpha=6, use_rslora=True)),
    ("a rank by last name", "llama", dict(target_modules=QV, r=2, lora_alpha=6, rank_pattern={"q_proj": 4})),
    ("a rank by a part of a last name", "gpt_neox", dict(target_modules="all-linear", r=2, rank_pattern={"dense": 4, "4h_to_h": 5})),
    ("a rank by layer", "gptj", dict(target_modules=["q_proj"], r=2, rank_pattern={"1.attn.q_proj": 4, "h.0.attn.q_proj": 3})),
    ("a rank by an expression", "gptj", dict(target_modules=QV, r=2, rank_pattern={r"h\.1\d?\..*": 4})),
    ("a dot of a pattern is any character", "gptj", dict(target_modules=QV, r=2, rank_pattern={"attn.q.proj": 3})),
    (
        "ranks and alphas by pattern, rsLoRA",
        "llama",
        dict(target_modules=QV, r=2, lora_alpha=6, use_rslora=True, rank_pattern={"0.self_attn.q_proj": 4}, alpha_pattern={"v_proj": 3}),
    ),  # noqa: E501
    ("two patterns match: the first counts", "llama", dict(target_modules=QV, r=2, rank_pattern={"q_proj": 4, r".*\.0\..*": 6})),
    (
        "two patterns match: the first counts, turned round",
        "llama",
        dict(target_modules=QV, r=2, rank_pattern={r".*\.0\..*": 6, "q_proj": 4}),
    ),  # noqa: E501
    (
        "two patterns match in every layer",
        "gptj",
        dict(target_modules=QV, rank_pattern={"q_proj": 4, ".*_proj": 2}, alpha_pattern={"[qv]_proj": 3, "v_proj": 5}),
    ),  # noqa: E501
    (
        "two patterns match in every layer, turned round",
        "gptj",
        dict(target_modules=QV, rank_pattern={".*_proj": 2, "q_proj": 4}, alpha_pattern={"v_proj": 5, "[qv]_proj": 3}),
    ),  # noqa: E501
    (
        "a pattern anchored at the beginning",
        "llama",
        dict(target_modules=QV, r=2, rank_pattern={r"^model\.layers\.0\.self_attn\.q_proj": 4}),
    ),  # noqa: E501
    ("a pattern with a choice", "llama", dict(target_modules=QV, r=2, alpha_pattern={"q_proj|v_proj": 4, "o_proj": 5})),
    ("a pattern that matches nothing", "llama", dict(target_modules=QV, r=2, rank_pattern={"query": 4}, alpha_pattern={"proj": 4})),
    ("a pattern that is not an expression", "llama", dict(target_modules=QV, rank_pattern={"(q_proj": 4})),
    ("a rank of 0 by pattern", "llama", dict(target_modules=QV, rank_pattern={"q_proj": 0})),
    ("a rank of 0", "llama", dict(target_modules=QV, r=0)),
    ("a rank above the width", "llama", dict(target_modules=["k_proj"], r=64)),
    ("an alpha of 0", "llama", dict(target_modules=QV, lora_alpha=0)),
    ("a negative alpha that is not whole", "llama", dict(target_modules=QV, r=4, lora_alpha=-2.5)),
    ("a module that is saved whole", "llama", dict(target_modules=["q_proj", "lm_head"], modules_to_save=["lm_head"])),
]


def config_of(settings: Json) -> Any:
    return AutoConfig.for_model(bos_token_id=0, eos_token_id=0, **settings)


def outcome(config: Json, settings: Json) -> Json:
    model = AutoModelForCausalLM.from_config(config_of(config))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        except Exception as error:
            return dict(error=type(error).__name__, says=str(error).split("\n")[0][:160])
    adapted = [(name.removeprefix("base_model.model."), module) for name, module in tuned.named_modules() if hasattr(module, "lora_A")]
    made: dict[str, Any] = {
        name: [module.r["default"], module.lora_alpha["default"], module.scaling["default"]] for name, module in adapted
    }  # noqa: E501
    row: Json = dict(modules=made)
    embeddings = [name for name, module in adapted if len(module.lora_embedding_A) > 0]
    said = [str(each.message).split("\n")[0][:160] for each in caught if "peft" in each.filename]
    return row | (dict(embeddings=embeddings) if embeddings else {}) | (dict(warnings=said) if said else {})


def main() -> None:
    torch.set_num_threads(1)
    rows = [dict(name=name, model=model, settings=settings) | outcome(MODELS[model], settings) for name, model, settings in CASES]
    lines = ",\n".join(json.dumps(row) for row in rows)
    about = "made by lora_targets.py; modules: [rank, alpha, scaling]"
    models = {name: config_of(settings).to_dict() for name, settings in MODELS.items()}
    (HERE / "lora-targets.json").write_text(f'{{"about": {json.dumps(about)}, "models": {json.dumps(models)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
