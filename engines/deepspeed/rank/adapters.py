"""Low-rank adapters beside the layers of a frozen model, built by PEFT as Roslin planned them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig, inject_adapter_in_model

from dropout import Draw, Dropout

# PEFT's name for a model's only adapter, in the names of its parameters
ADAPTER = "default"
# what the names of an adapter's tensors begin with in PEFT's files
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """The adapter of one linear layer, by transformers' name of the layer."""

    module: str
    rank: int
    # what its product is multiplied by
    scale: float
    # the layer, and the index of the module in its block
    layer: int
    index: int


def adapt(model: Any, adapters: Sequence[Adapter], draw: Draw) -> None:
    """Freezes a model and gives it adapters; their values come later."""
    config = LoraConfig(
        target_modules=[adapter.module for adapter in adapters],
        # PEFT's patterns are expressions
        rank_pattern={re.escape(adapter.module): adapter.rank for adapter in adapters},
        init_lora_weights=False,
    )
    inject_adapter_in_model(config, model, ADAPTER)
    for adapter in adapters:
        layer = model.get_submodule(adapter.module)
        layer.scaling[ADAPTER] = adapter.scale
        if draw.share > 0:
            # PEFT's own dropout would depend on what was drawn before
            layer.lora_dropout[ADAPTER] = Dropout(draw, adapter.layer, adapter.index)


def canonical(named: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by the names that the base's files have, and PEFT's."""
    return {_canonical(name): parameter for name, parameter in named.items()}


def _canonical(name: str) -> str:
    module, found, matrix = name.rpartition(".lora_")
    if found:
        return f"{PREFIX}{module}{found}{matrix.replace(f'.{ADAPTER}.', '.')}"
    return name.replace(".base_layer.", ".")
