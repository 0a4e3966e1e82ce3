"""Which flat elements of a parameter belong to a shard of a checkpoint, and which to a rank of ZeRO.

Checkpoints are cut into logical shards by rows of the first axis, as core/training/slices.ts cuts them. ZeRO 3 cuts the
flat parameter into equal parts, one for each rank. Both are contiguous, so one becomes the other by moving flat ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Range:
    """A half-open range of flat elements."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return max(0, self.end - self.start)

    def overlap(self, other: Range) -> Range:
        """What both contain; empty when they do not meet."""
        start = max(self.start, other.start)
        return Range(start, max(start, min(self.end, other.end)))


@dataclass(frozen=True)
class Parameter:
    """A parameter by its canonical name, with its sizes."""

    name: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def row(self) -> int:
        """Elements of one row of the first axis."""
        return prod(self.shape[1:])


def rows_of(rows: int, shards: int, shard: int) -> Range:
    """The rows of a tensor's first axis that a shard owns; empty when there are fewer rows than shards."""
    return Range(rows * shard // shards, rows * (shard + 1) // shards)


def shard_of(parameter: Parameter, shards: int, shard: int) -> Range:
    """The flat elements of a parameter that a shard owns."""
    rows = rows_of(parameter.shape[0], shards, shard)
    return Range(rows.start * parameter.row, rows.end * parameter.row)


def partition_of(count: int, ranks: int, rank: int) -> Range:
    """The flat elements of a parameter that a rank of ZeRO owns, without the padding at the end."""
    size = -(-count // ranks)
    return Range(min(rank * size, count), min((rank + 1) * size, count))


def hosted_shards(shards: int, ranks: int, rank: int) -> range:
    """The shards whose rows a rank computes and whose files it writes."""
    hosted = rows_of(shards, ranks, rank)
    return range(hosted.start, hosted.end)


@dataclass(frozen=True)
class Piece:
    """Flat elements of a parameter that one rank owns and that belong into a shard that another rank, or the same, hosts."""

    parameter: int
    shard: int
    owner: int
    host: int
    elements: Range


def pieces(parameters: Sequence[Parameter], shards: int, ranks: int) -> Iterator[Piece]:
    """Every piece of a checkpoint, by parameter and shard, in the order of elements: the same sequence on every rank."""
    hosts = [rank for rank in range(ranks) for _ in hosted_shards(shards, ranks, rank)]
    for index, parameter in enumerate(parameters):
        size = -(-parameter.count // ranks)
        for shard in range(shards):
            wanted = shard_of(parameter, shards, shard)
            if wanted.size == 0:
                continue
            for owner in range(wanted.start // size, (wanted.end - 1) // size + 1):
                elements = wanted.overlap(partition_of(parameter.count, ranks, owner))
                yield Piece(index, shard, owner, hosts[shard], elements)
