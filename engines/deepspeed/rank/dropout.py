"""What adapters do not see of their layers' inputs, as core/model/lora/dropout.ts draws it.

An element's fate is a function of the seed, the step, the row, the layer, the module and the place in the row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from packing import Batch

WORD = 2**32 - 1


def _mix(word: int) -> int:
    """Murmur3's finalizer."""
    word &= WORD
    word = (word ^ word >> 16) * 0x85EBCA6B & WORD
    word = (word ^ word >> 13) * 0xC2B2AE35 & WORD
    return word ^ word >> 16


def bits_at(seed: int, *counters: int) -> int:
    """32 random bits at a place, as in core/rows/random.ts."""
    word = _mix(_mix((seed & WORD) + 0x9E3779B9) ^ seed >> 32)
    for counter in counters:
        word = _mix(word * 0x9E3779B1 + counter + 0x7F4A7C15)
    return word


def drawn(key: int, count: int, share: float, device: torch.device) -> torch.Tensor:
    """The factors of a row's elements: 0 where one is dropped, 1 / (1 - share) elsewhere."""
    word = (torch.arange(count, device=device) * 0x9E3779B1 & WORD) ^ key
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        # products wrap around, and their lower half is right
        word = (word ^ word >> shift) * factor & WORD
    kept = torch.tensor(1 / (1 - share), dtype=torch.float32, device=device)
    # a limit that is not whole would be compared in float32
    return torch.where((word ^ word >> 16) < math.ceil(share * 2**32), torch.zeros_like(kept), kept)


@dataclass
class Draw:
    """What all adapters of a model have in common; `step` is an index."""

    share: float
    seed: int
    step: int = 0
    batch: Batch | None = None


class Dropout(nn.Module):
    """Takes the place of an adapter's own dropout."""

    def __init__(self, draw: Draw, layer: int, index: int) -> None:
        super().__init__()
        self._draw = draw
        self._layer = layer
        self._index = index

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # test rows are seen whole
        if not self.training:
            return x
        draw = self._draw
        assert draw.batch is not None
        # [B, L, I]
        factors = torch.ones_like(x, dtype=torch.float32)
        for place in draw.batch.places:
            key = bits_at(draw.seed, draw.step, place.source, self._layer, self._index)
            row = factors[place.line, place.start : place.end]
            row.copy_(drawn(key, row.numel(), draw.share, x.device).view_as(row))
        return x * factors.to(x.dtype)
