"""DeepSpeed's ZeRO 3 around the model: its state by parameter, and the gradients of a step."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.runtime.swap_tensor.partitioned_param_swapper import PartitionedParamStatus

from model import Built
from packing import Batch
from slices import Parameter, Range, partition_of
from tensors import MOMENTS, Base, Checkpoint


class Zero:
    """The model under ZeRO 3, with a state to begin from."""

    def __init__(
        self,
        built: Built,
        settings: dict[str, Any],
        optimizer: dict[str, Any],
        base: Base,
        source: Base | Checkpoint,
        moved: Callable[[], None],
        meet: Callable[[], None],
    ) -> None:
        self.ranks, self.rank = dist.get_world_size(), dist.get_rank()
        self._parameters = built.trained
        self._named = built.named
        for parameter in built.frozen:
            self._fill_frozen(parameter, base)
            moved()
        for parameter in self._parameters:
            weight = self._named[parameter.name].ds_tensor
            # one on NVMe is written when its float32 weight is known
            if weight.status == PartitionedParamStatus.AVAILABLE:
                self._fill(weight, parameter, source, "")
            moved()
        # until here no rank waited for another one; from here on they do, and reading a large model may take one of them long
        meet()
        self._engine, _, _, _ = deepspeed.initialize(
            model=built.loss,
            model_parameters=[self._named[parameter.name] for parameter in self._parameters],
            optimizer=lambda groups: torch.optim.AdamW(groups, **optimizer),
            config=settings,
        )
        self.device: torch.device = self._engine.device
        self._zero = self._engine.optimizer
        self._adam: torch.optim.Optimizer = self._zero.optimizer
        self._adam.zero_grad()
        self._zero.unscale_and_clip_grads = self._scale_gradients
        # what the gradients of a step are multiplied with before its update
        self._scale = 1.0
        # AdamW beside a GPU: it takes each element alone, so threads change no bit
        beside = self.device.type == "cuda" and self._zero.offload_optimizer
        self._threads = max(1, len(os.sched_getaffinity(0)) // self.ranks) if beside else 1
        # the sub-group whose state was read from NVMe
        self._near: int | None = None
        self._moved = moved
        self._load(source)

    def _load(self, source: Base | Checkpoint) -> None:
        # the weight once more: DeepSpeed has made its float32 copy from one that may be rounded
        moments = MOMENTS if isinstance(source, Checkpoint) else MOMENTS[:1]
        for number, flat in enumerate(self._zero.fp32_partitioned_groups_flat):
            self._bring(number)
            self._adam.state[flat] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(flat),
                "exp_avg_sq": torch.zeros_like(flat),
            }
            for parameter in self._parameters:
                if self._position(parameter)[0] != number:
                    continue
                for moment in moments:
                    self._fill(self._flat(parameter, moment), parameter, source, moment)
                self._moved()
            if self._zero.fp16_partitioned_groups_flat[number] is None:
                self._zero._partitioned_params_swap_out(number)
            if self._near is not None:
                self._zero._optimizer_states_and_gradient_swap_out(number)
                self._near = None

    def _bring(self, number: int) -> None:
        """Reads a sub-group's state from NVMe, if it lies there."""
        if number == self._near or not self._zero._swappable_optimizer_subgroup(number):
            return
        self._release()
        self._zero._optimizer_states_and_gradient_swap_in(number)
        self._near = number

    def _release(self) -> None:
        if self._near is not None:
            self._zero._release_swap_buffers(self._near)
            self._near = None

    def _fill_frozen(self, parameter: Parameter, base: Base) -> None:
        """Gives a frozen parameter its values, on NVMe as DeepSpeed itself writes it there when it is made."""
        frozen = self._named[parameter.name]
        if frozen.ds_tensor.status == PartitionedParamStatus.AVAILABLE:
            self._fill(frozen.ds_tensor, parameter, base, "")
            return
        swapper = frozen.nvme_swapper
        frozen.ds_tensor.data = swapper.get_buffer(frozen, frozen.ds_tensor.ds_numel).data
        frozen.ds_tensor.status = PartitionedParamStatus.AVAILABLE
        self._fill(frozen.ds_tensor, parameter, base, "")
        swapper.swap_out_and_release([frozen])

    def _fill(self, target: torch.Tensor, parameter: Parameter, source: Base | Checkpoint, moment: str) -> None:
        owned = self.owned(parameter)
        values = source.read(parameter, owned) if isinstance(source, Base) else source.read(parameter, owned, moment)
        with torch.no_grad():
            target.view(-1)[: owned.size].copy_(values)
            target.view(-1)[owned.size :].zero_()

    def owned(self, parameter: Parameter) -> Range:
        """The flat elements of a parameter that this rank owns."""
        return partition_of(parameter.count, self.ranks, self.rank)

    def _position(self, parameter: Parameter) -> tuple[int, int, int]:
        """Where a parameter's elements lie: the number of the sub-group, the first element there, and how many there are."""
        number, start, size = self._zero.grad_position[self._zero.get_param_id(self._named[parameter.name])]
        return number, start, size

    def _flat(self, parameter: Parameter, moment: str) -> torch.Tensor:
        number, start, size = self._position(parameter)
        self._bring(number)
        weights = self._zero.fp32_partitioned_groups_flat[number]
        flat: torch.Tensor = weights if moment == "" else self._adam.state[weights][moment[1:]]
        return flat.detach()[start : start + size]

    def state(self, parameter: Parameter, moment: str) -> torch.Tensor:
        """This rank's elements of a parameter or of a moment, float32 on the CPU."""
        return self._flat(parameter, moment)[: self.owned(parameter).size].cpu()

    def restart(self) -> None:
        """Forgets the gradients of the step at hand."""
        self._zero.zero_grad()
        self._zero.averaged_gradients = {}

    def passes(self, batch: Batch, factor: float, last: bool) -> float:
        """Adds a batch's gradients, times a factor, to the step's; returns the batch's loss, without the factor."""
        self._release()
        self._engine.set_gradient_accumulation_boundary(last)
        loss: torch.Tensor = self._engine(batch)
        self._engine.backward(loss * factor * self.ranks)
        return float(loss.item())

    def loss(self, batch: Batch) -> float:
        """A batch's loss, without dropout and without gradients."""
        self._release()
        self._engine.eval()
        try:
            with torch.no_grad():
                loss: torch.Tensor = self._engine(batch)
        finally:
            self._engine.train()
        return float(loss.item())

    def squares(self) -> torch.Tensor:
        """The sum of this rank's squared gradients, once a step's last pass is over: a float64 scalar."""
        sizes = [weight.partition_numel() for group in self._zero.fp16_groups for weight in group]
        gradients = self._zero.grad_partitions_flat_buffer.split(sizes)
        # where the model is computed, because the optimizer may be elsewhere
        return torch.stack([each.to(self.device).double().square().sum() for each in gradients]).sum()

    def update(self, rate: float, updates: int, scale: float) -> None:
        """One step of AdamW, the `updates`-th, on gradients times a scale."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        for state in self._adam.state.values():
            state["step"].fill_(updates - 1)
        self._scale = scale
        torch.set_num_threads(self._threads)
        self._engine.step()
        # the sums of one thread are always the same
        torch.set_num_threads(1)

    def _scale_gradients(self, number: int, _norm: torch.Tensor) -> None:
        """Takes the place of DeepSpeed's own clipping, sub-group by sub-group: where gradients lie depends on what is offloaded."""
        if self._scale != 1:
            self._zero.fp32_partitioned_groups_flat[number].grad.mul_(self._scale)
        self._moved()


def gathered(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all ranks."""
    dist.all_reduce(values)
    return values
