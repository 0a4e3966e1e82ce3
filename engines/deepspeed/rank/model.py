"""The model: transformers' own, built without weights, cut by ZeRO while it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import deepspeed
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion

from dropout import Draw
from packing import Batch
from slices import Parameter

# what a model may be computed in besides float32, by DeepSpeed's names
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class LossModel(nn.Module):
    """A model and the loss of a batch: the sum over its labels. Only positions that carry loss go through the head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.body = model.base_model
        self.head = model.get_output_embeddings()

    def forward(self, batch: Batch) -> torch.Tensor:
        out = self.body(input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False)
        hidden = out.last_hidden_state
        logits = self.head(hidden.reshape(-1, hidden.shape[-1])[batch.scored])
        return functional.cross_entropy(logits.float(), batch.targets, reduction="none").double().sum()


class Built:
    """The model with its parameters by canonical name; those that are not trained are frozen."""

    def __init__(self, model: Any, named: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]], draw: Draw) -> None:
        self.loss = LossModel(model)
        self.named = named
        self.draw = draw
        self.trained, self.frozen = (
            [Parameter(each["name"], tuple(each["shape"])) for each in parameters if each["frozen"] is frozen] for frozen in (False, True)
        )
        self.embedding: nn.Module = model.get_input_embeddings()
        self.blocks: nn.ModuleList = next(module for module in model.modules() if isinstance(module, nn.ModuleList))


def build(order: Mapping[str, Any], settings: Mapping[str, Any], keep_activations: bool) -> Built:
    """Builds the model that a directory's config.json describes; every rank holds its own part of each parameter, still without values."""
    config = AutoConfig.from_pretrained(order["model"], local_files_only=True, trust_remote_code=False)
    dtype = next((dtype for name, dtype in DTYPES.items() if settings[name]["enabled"]), torch.float32)
    # training goes without dropout, whatever a base's config says: see docs/decisions/0044-dropout.md
    for name, value in list(vars(config).items()):
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    # loads the model's code; inside zero.Init, which replaces torch's constructors, that fails
    kind = AutoModelForCausalLM._model_mapping[type(config)]
    # no dtype: on a CPU DeepSpeed 0.19.8 turns any that it is given into bfloat16, and takes it from the settings otherwise
    draw = Draw(**order["dropout"])
    if order["adapters"]:
        # PEFT, too, is loaded before, and only where it is used
        from adapters import Adapter, adapt, canonical
    with deepspeed.zero.Init(config_dict_or_path=dict(settings)):
        # eager: attention scores and their softmax in float32, as the model's authors have them
        model = kind._from_config(config, attn_implementation="eager", dtype=dtype)
        if order["adapters"]:
            fields = ("module", "rank", "scale", "layer", "index")
            adapt(model, [Adapter(*(each[name] for name in fields)) for each in order["adapters"]], draw)
    if not keep_activations:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    wrong = {str(parameter.dtype) for parameter in model.parameters() if parameter.dtype != dtype}
    if wrong:
        raise TypeError(f"ZeRO made parameters of another dtype [expected={dtype}, got={' '.join(sorted(wrong))}]")
    named = dict(model.named_parameters())
    # a model's files may name a tensor otherwise than transformers' modules do
    named = revert_weight_conversion(model, canonical(named) if order["adapters"] else named)
    _check(named, order["parameters"])
    return Built(model, named, order["parameters"], draw)


def _check(named: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]]) -> None:
    expected = {each["name"]: (tuple(each["shape"]), "frozen" if each["frozen"] else "trained") for each in parameters}
    got = {name: (tuple(each.ds_shape), "trained" if each.requires_grad else "frozen") for name, each in named.items()}
    for name in sorted({*expected, *got}):
        if expected.get(name) != got.get(name):
            raise ValueError(
                "transformers builds this model with other parameters than its config.json tells Roslin "
                f"[parameter={name}, expected={expected.get(name)}, got={got.get(name)}]"
            )


def beat(built: Built, moved: Callable[[], None]) -> None:
    """Says after each block, on the way forward and backward, that work goes on."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        moved()
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad:
            hidden.register_hook(lambda _gradient: moved())

    for block in built.blocks:
        block.register_forward_hook(hook)
