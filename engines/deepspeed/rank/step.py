"""One optimizer step: gradients by forward and backward passes, the norm, the update."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from loss_scale import LossScale
from model import Built
from packing import Batch, Row, pack
from wire import Wire, tell_shard
from zero import Zero, gathered

# what a rank computes in a pass for which it has no rows: all ranks go through the layers together
NOTHING = [Row([0, 0], [0, 0])]


@dataclass(frozen=True)
class Pass:
    """The rows of one shard in a pass; null: this rank has none."""

    shard: int | None
    rows: Sequence[Row]


@dataclass(frozen=True)
class Plan:
    """A step as the rank planned it."""

    index: int
    rate: float
    # of the whole step, over all ranks
    labels: int
    # as many on every rank
    passes: Sequence[Pass]
    # after it the loss on the test rows is measured
    evaluates: bool

    @staticmethod
    def read(order: Mapping[str, Any]) -> Plan:
        return Plan(order["step"], order["rate"], order["labels"], read_passes(order), order["evaluates"])


def read_passes(order: Mapping[str, Any]) -> list[Pass]:
    """The passes of an order."""
    return [
        Pass(each["shard"], [Row(row["ids"], row["labels"], row["source"]) for row in each["rows"]]) if each else Pass(None, [])
        for each in order["passes"]
    ]


@dataclass(frozen=True)
class Outcome:
    """What a step came to, the same on every rank but for the times."""

    # null where the step has no labels
    loss: float | None
    # before clipping
    norm: float | None
    # with which the gradients were computed; null where the loss is not scaled
    loss_scale: float | None
    spent: Mapping[str, float]


class NotFinite(Exception):
    """A loss or gradient is not finite, twice; nothing was updated."""

    def __init__(self, loss: float, norm: float, shards: Sequence[int]) -> None:
        super().__init__("not finite")
        self.loss, self.norm, self.shards = loss, norm, shards


class Trainer:
    """Takes steps."""

    def __init__(self, zero: Zero, built: Built, max_norm: float, scale: LossScale, updates: int, wire: Wire) -> None:
        self._zero = zero
        self._embedding = built.embedding
        self._draw = built.draw
        self._max_norm = max_norm
        self._scale = scale
        self._wire = wire
        # steps that updated something
        self.updates = updates

    def step(self, plan: Plan) -> Outcome:
        """A step without labels updates nothing; one that is not finite is computed once more, then fails.

        One whose gradients overflow in float16 is computed again with half the loss scale, so no step is skipped.
        """
        scale = self._scale
        if plan.labels == 0:
            return Outcome(None, None, scale.recorded, {})
        started = time.perf_counter()
        scale.grow(self.updates)
        loss, norm = self._gradients(plan, None)
        while math.isfinite(loss) and not math.isfinite(norm) and scale.halve():
            self._zero.restart()
            loss, norm = self._gradients(plan, None)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._zero.restart()
            bad: set[int] = set()
            loss, norm = self._gradients(plan, bad)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise NotFinite(loss, norm, self._everybodys(bad))
        computed = time.perf_counter()
        self.updates += 1
        self._zero.update(plan.rate, self.updates, min(1.0, self._max_norm / (norm + 1e-6)) / scale.value)
        return Outcome(loss, norm, scale.recorded, {"passes": computed - started, "optimizer": time.perf_counter() - computed})

    def losses(self, passes: Sequence[Pass]) -> float:
        """The sum of the losses of this rank's test rows."""
        total = 0.0
        for each in passes:
            batch = pack(each.rows if each.rows else NOTHING).to(self._zero.device)
            loss = self._zero.loss(batch)
            total += loss if each.rows else 0.0
            self._wire.moved()
        return total

    def mean(self, total: float, labels: int) -> float:
        """The mean over labels of all ranks, by each rank's sum."""
        return float(gathered(torch.tensor(total, dtype=torch.float64, device=self._zero.device)).item()) / labels

    def _gradients(self, plan: Plan, bad: set[int] | None) -> tuple[float, float]:
        """Leaves the gradient, times the loss scale, with its owners; `bad` collects the shards whose loss or gradient is not finite."""
        total = 0.0
        for number, each in enumerate(plan.passes):
            tell_shard(each.shard)
            batch = pack(each.rows if each.rows else NOTHING).to(self._zero.device)
            self._draw.step, self._draw.batch = plan.index, batch
            factor = self._scale.value / plan.labels if each.rows else 0.0
            loss = self._pass(batch, factor, number == len(plan.passes) - 1, each.shard, bad)
            total += loss if each.rows else 0.0
            self._wire.moved()
        tell_shard(None)
        sums = gathered(torch.stack([torch.tensor(total, dtype=torch.float64, device=self._zero.device), self._zero.squares()]))
        return sums[0].item() / plan.labels, math.sqrt(sums[1].item()) / self._scale.value

    def _pass(self, batch: Batch, factor: float, last: bool, shard: int | None, bad: set[int] | None) -> float:
        if bad is None or shard is None:
            return self._zero.passes(batch, factor, last)

        def look(gradient: torch.Tensor) -> None:
            if not gradient.isfinite().all():
                bad.add(shard)

        def attach(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # a frozen embedding gives what needs no gradient
            if not output.requires_grad:
                output.requires_grad_()
            output.register_hook(look)

        # a value that is not finite shows in a shard's loss, or at the latest in its gradient at the embedding
        hook = self._embedding.register_forward_hook(attach)
        try:
            loss = self._zero.passes(batch, factor, last)
        finally:
            hook.remove()
        if not math.isfinite(loss):
            bad.add(shard)
        return loss

    def _everybodys(self, bad: set[int]) -> list[int]:
        found: list[Any] = [None] * self._zero.ranks
        dist.all_gather_object(found, sorted(bad))
        return sorted({shard for shards in found for shard in shards})
