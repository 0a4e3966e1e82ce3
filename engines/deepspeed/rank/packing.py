"""The rows of one pass as a batch: rows lie end to end in lines that are as long as the longest row.

So there is next to no padding, and attention, which costs the square of a line's length, costs no more than with padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

# a label that carries no loss
IGNORED = -100


@dataclass(frozen=True)
class Row:
    """A row's token ids and its labels, not shifted; `source`: its number among all rows."""

    ids: Sequence[int]
    labels: Sequence[int]
    source: int = 0


@dataclass(frozen=True)
class Place:
    """Where a row's tokens lie."""

    source: int
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Batch:
    """Lines of rows; B lines of L tokens, N positions that carry loss."""

    # int64 [B, L]; positions begin again with each row
    ids: torch.Tensor
    positions: torch.Tensor
    # float32 [B, 1, L, L]: 0 where a token may look, hugely negative elsewhere
    mask: torch.Tensor
    # int64 [N]: the flat position whose output is scored, and the token that follows there
    scored: torch.Tensor
    targets: torch.Tensor
    places: Sequence[Place]

    def to(self, device: torch.device) -> Batch:
        tensors: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **tensors)


def lines_of(lengths: Sequence[int]) -> list[list[int]]:
    """Puts rows, by their lengths, into lines no longer than the longest row; returns the rows of each line."""
    longest = max(lengths)
    lines: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        line = next((index for index, left in enumerate(room) if left >= lengths[row]), len(lines))
        if line == len(lines):
            lines.append([])
            room.append(longest)
        lines[line].append(row)
        room[line] -= lengths[row]
    return lines


def pack(rows: Sequence[Row]) -> Batch:
    """The batch of at least one row with at least one token."""
    lengths = [len(row.ids) for row in rows]
    lines = lines_of(lengths)
    count, length = len(lines), max(lengths)
    ids = torch.zeros(count, length, dtype=torch.int64)
    positions = torch.zeros(count, length, dtype=torch.int64)
    # tokens of the padding see themselves, because a softmax over nothing is not a number
    mask = torch.full((count, 1, length, length), torch.finfo(torch.float32).min)
    mask.diagonal(dim1=2, dim2=3).zero_()
    scored: list[int] = []
    targets: list[int] = []
    places: list[Place] = []
    for line, members in enumerate(lines):
        at = 0
        for row in members:
            size = lengths[row]
            places.append(Place(rows[row].source, line, at, at + size))
            ids[line, at : at + size] = torch.tensor(rows[row].ids)
            positions[line, at : at + size] = torch.arange(size)
            mask[line, 0, at : at + size, at : at + size].masked_fill_(torch.ones(size, size).tril().bool(), 0)
            for offset, label in enumerate(rows[row].labels):
                if offset > 0 and label != IGNORED:
                    scored.append(line * length + at + offset - 1)
                    targets.append(label)
            at += size
    return Batch(ids, positions, mask, torch.tensor(scored, dtype=torch.int64), torch.tensor(targets, dtype=torch.int64), places)
