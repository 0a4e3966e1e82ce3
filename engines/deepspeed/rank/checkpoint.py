"""A checkpoint of this rank's shards: ZeRO's parts are moved between ranks where a shard's rows lie in several, and sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

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
        state = self._zero.state
        came = self._exchange(state)
        by_shard = {(shard, index): list(group) for (shard, index), group in groupby(
            sorted(self._hosted, key=lambda piece: (piece.shard, piece.parameter)), lambda piece: (piece.shard, piece.parameter))}
        for shard in hosted_shards(self._shards, self._zero.ranks, self._zero.rank):
            tensors = [
                {"name": parameter.name + moment, "shape": [rows_of(parameter.shape[0], self._shards, shard).size, *parameter.shape[1:]]}
                for parameter in self._parameters
                for moment in MOMENTS
            ]
            self._wire.say("shard", stepsDone=steps_done, updates=updates, shard=shard, tensors=tensors)
            for index, parameter in enumerate(self._parameters):
                for moment in MOMENTS:
                    for piece in by_shard.get((shard, index), []):
                        local = piece.owner == self._zero.rank
                        values = self._own(state, piece, moment) if local else came[piece, moment]
                        self._wire.send(memoryview(values.numpy()).cast("B"))

    def _own(self, state: Callable[[Parameter, str], torch.Tensor], piece: Piece, moment: str) -> torch.Tensor:
        parameter = self._parameters[piece.parameter]
        first = partition_of(parameter.count, self._zero.ranks, self._zero.rank).start
        return state(parameter, moment)[piece.elements.start - first : piece.elements.end - first].contiguous()

    def _exchange(self, state: Callable[[Parameter, str], torch.Tensor]) -> dict[tuple[Piece, str], torch.Tensor]:
        """Moves pieces to the ranks that host them: one message for each pair of ranks. Returns those that came."""
        work = []
        arriving: list[tuple[list[Piece], torch.Tensor]] = []
        for peer in range(self._zero.ranks):
            wanted = [piece for piece in self._hosted if piece.owner == peer != self._zero.rank]
            if wanted:
                buffer = torch.empty(len(MOMENTS) * sum(piece.elements.size for piece in wanted))
                work.append(dist.irecv(buffer, peer))
                arriving.append((wanted, buffer))
            leaving = [piece for piece in self._leaving if piece.host == peer]
            if leaving:
                parts = [self._own(state, piece, moment) for piece in leaving for moment in MOMENTS]
                work.append(dist.isend(torch.cat(parts), peer))
        for each in work:
            each.wait()
        came: dict[tuple[Piece, str], torch.Tensor] = {}
        for wanted, buffer in arriving:
            keys = [(piece, moment) for piece in wanted for moment in MOMENTS]
            came.update(zip(keys, buffer.split([piece.elements.size for piece, _ in keys])))
        return came
