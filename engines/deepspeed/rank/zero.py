"""DeepSpeed's ZeRO 3 around the model: its settings, its state by parameter, and the gradients of a step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state

from model import Built
from packing import Batch
from slices import Parameter, Range, partition_of
from tensors import MOMENTS, Base, Checkpoint

# elements that ZeRO reduces at once, at the least and at the most
MIN_BUCKET, MAX_BUCKET = 2**20, 2**28
# a block has about so many times the square of the width; DeepSpeed's own limit of what is gathered at once
BLOCK_SQUARES = 12
MOST_LIVE = 10**9


def settings_of(precision: str, width: int, largest: int) -> dict[str, Any]:
    """DeepSpeed's configuration, by the model's width and the elements of its largest parameter.

    Clipping, schedule and accumulation are ours, because its own differ from what a run promises.
    """
    bucket = min(max(width * width, MIN_BUCKET), MAX_BUCKET)
    # DeepSpeed would gather a model of less than a billion parameters whole
    live = min(2 * largest + 2 * BLOCK_SQUARES * width * width, MOST_LIVE)
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # without this line it clips at 1
        "gradient_clipping": 0,
        "bf16": {"enabled": precision == "bf16"},
        # sums of passes and ranks
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "stage": 3,
            "contiguous_gradients": True,
            "overlap_comm": torch.cuda.is_available(),
            "reduce_bucket_size": bucket,
            "stage3_prefetch_bucket_size": bucket,
            "stage3_max_live_parameters": live,
            "stage3_max_reuse_distance": live,
            "stage3_param_persistence_threshold": 10 * width,
        },
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
    }


def quiet() -> None:
    """DeepSpeed logs to standard output at every step, and would compile an operator for the CPU when it starts."""
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class Zero:
    """The model under ZeRO 3, with a state to begin from."""

    def __init__(
        self,
        built: Built,
        parameters: Sequence[Parameter],
        settings: dict[str, Any],
        optimizer: dict[str, Any],
        source: Base | Checkpoint,
        moved: Callable[[], None],
        meet: Callable[[], None],
    ) -> None:
        self.ranks, self.rank = dist.get_world_size(), dist.get_rank()
        self._parameters = parameters
        self._named = built.named
        for parameter in parameters:
            self._fill(self._named[parameter.name].ds_tensor, parameter, source, "")
            moved()
        # until here no rank waited for another one; from here on they do, and reading a large model may take one of them long
        meet()
        self._engine, _, _, _ = deepspeed.initialize(
            model=built.loss,
            model_parameters=[self._named[parameter.name] for parameter in parameters],
            optimizer=lambda groups: torch.optim.AdamW(groups, **optimizer),
            config=settings,
        )
        self.device: torch.device = self._engine.device
        self._zero = self._engine.optimizer
        self._adam: torch.optim.Optimizer = self._zero.optimizer
        self._adam.zero_grad()
        for flat in self._zero.fp32_partitioned_groups_flat:
            self._adam.state[flat] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(flat),
                "exp_avg_sq": torch.zeros_like(flat),
            }
        for parameter in parameters:
            # the weight once more: DeepSpeed has made its float32 copy from one that may be rounded
            moments = MOMENTS if isinstance(source, Checkpoint) else MOMENTS[:1]
            for moment in moments:
                self._fill(self._flat(parameter, moment), parameter, source, moment)
            moved()

    def _fill(self, target: torch.Tensor, parameter: Parameter, source: Base | Checkpoint, moment: str) -> None:
        owned = self.owned(parameter)
        values = source.read(parameter, owned) if isinstance(source, Base) else source.read(parameter, owned, moment)
        with torch.no_grad():
            target.view(-1)[: owned.size].copy_(values)
            target.view(-1)[owned.size :].zero_()

    def owned(self, parameter: Parameter) -> Range:
        """The flat elements of a parameter that this rank owns."""
        return partition_of(parameter.count, self.ranks, self.rank)

    def _flat(self, parameter: Parameter, moment: str) -> torch.Tensor:
        weight = self._named[parameter.name]
        flat: torch.Tensor = safe_get_local_fp32_param(weight) if moment == "" else safe_get_local_optimizer_state(weight, moment[1:])
        return flat

    def state(self, parameter: Parameter, moment: str) -> torch.Tensor:
        """This rank's elements of a parameter or of a moment, float32 on the CPU."""
        return self._flat(parameter, moment)[: self.owned(parameter).size].detach().cpu()

    def restart(self) -> None:
        """Forgets the gradients of the step at hand."""
        self._zero.zero_grad()
        self._zero.averaged_gradients = {}

    def passes(self, batch: Batch, factor: float, last: bool) -> float:
        """Adds a batch's gradients, times a factor, to the step's; returns the batch's loss, without the factor."""
        self._engine.set_gradient_accumulation_boundary(last)
        loss: torch.Tensor = self._engine(batch)
        self._engine.backward(loss * factor * self.ranks)
        return float(loss.item())

    def squares(self) -> torch.Tensor:
        """The sum of this rank's squared gradients, once a step's last pass is over: a float64 scalar."""
        gradients = [each for group in self._zero.averaged_gradients.values() for each in group]
        return torch.stack([each.double().square().sum() for each in gradients]).sum()

    def update(self, rate: float, updates: int, scale: float) -> None:
        """One step of AdamW, the `updates`-th, on gradients times a scale."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        for state in self._adam.state.values():
            state["step"].fill_(updates - 1)
        if scale != 1:
            for group in self._zero.averaged_gradients.values():
                for each in group:
                    each.mul_(scale)
        self._engine.step()


def gathered(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all ranks."""
    dist.all_reduce(values)
    return values
