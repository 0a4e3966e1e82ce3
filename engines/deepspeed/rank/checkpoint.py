"""A checkpoint of this rank's shards: ZeRO's parts are moved between ranks where a shard's rows lie in several, and sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.distributed as dist

from slices import Parameter, Piece, hosted_shards, partition_of, pieces, rows_of
from tensors import MOMENTS
from wire import Wire
from zero import Zero


class CheckpointSender:
    """Sends what a checkpoint holds of the shards that this rank hosts."""

    def __init__(self, zero: Zero, parameters: Sequence[Parameter], shards: int, wire: Wire) -> None:
        self._zero = zero
        self._parameters = parameters
        self._shards = shards
        self._wire = wire
        mine = [piece for piece in pieces(parameters, shards, zero.ranks) if zero.rank in (piece.owner, piece.host)]
        self._hosted = [piece for piece in mine if piece.host == zero.rank]
        self._leaving = [piece for piece in mine if piece.host != zero.rank]

    def send(self, steps_done: int, updates: int) -> None:
        """Sends every hosted shard: an event with names and shapes, then the numbers in the same order."""
        came = self._exchange()
        parts: defaultdict[tuple[int, int], list[Piece]] = defaultdict(list)
        for piece in self._hosted:
            parts[piece.shard, piece.parameter].append(piece)
        for shard in hosted_shards(self._shards, self._zero.ranks, self._zero.rank):
            tensors = [
                {"name": parameter.name + moment, "shape": [rows_of(parameter.shape[0], self._shards, shard).size, *parameter.shape[1:]]}
                for parameter in self._parameters
                for moment in MOMENTS
            ]
            self._wire.say("shard", stepsDone=steps_done, updates=updates, shard=shard, tensors=tensors)
            for index in range(len(self._parameters)):
                for moment in MOMENTS:
                    for piece in parts[shard, index]:
                        values = self._own(piece, moment) if piece.owner == self._zero.rank else came[piece, moment]
                        self._wire.send(values)

    def _own(self, piece: Piece, moment: str) -> torch.Tensor:
        parameter = self._parameters[piece.parameter]
        first = partition_of(parameter.count, self._zero.ranks, self._zero.rank).start
        return self._zero.state(parameter, moment)[piece.elements.start - first : piece.elements.end - first]

    def _exchange(self) -> dict[tuple[Piece, str], torch.Tensor]:
        """Moves pieces to the ranks that host them: one message for each pair of ranks. Returns those that came."""
        work = []
        came: dict[tuple[Piece, str], torch.Tensor] = {}
        for peer in range(self._zero.ranks):
            wanted = [piece for piece in self._hosted if piece.owner == peer != self._zero.rank]
            if wanted:
                buffer = torch.empty(len(MOMENTS) * sum(piece.elements.size for piece in wanted))
                work.append(dist.irecv(buffer, peer))
                at = 0
                for piece in wanted:
                    for moment in MOMENTS:
                        came[piece, moment] = buffer[at : at + piece.elements.size]
                        at += piece.elements.size
            leaving = [piece for piece in self._leaving if piece.host == peer]
            if leaving:
                parts = [self._own(piece, moment) for piece in leaving for moment in MOMENTS]
                work.append(dist.isend(torch.cat(parts), peer))
        for each in work:
            if each is not None:
                each.wait()
        return came
