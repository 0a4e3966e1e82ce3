"""DeepSpeed's configuration, and what is switched off before it starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

# elements that ZeRO reduces at once, at the least and at the most
MIN_BUCKET, MAX_BUCKET = 2**20, 2**28
# a block has about so many times the square of the width; DeepSpeed's own limit of what is gathered at once
BLOCK_SQUARES = 12
MOST_LIVE = 10**9
# elements of a rank that AdamW updates at once: what it allocates beside them, and each buffer between memory and NVMe, is as large
SUB_GROUP = 2 * 10**7
# weights, both moments and gradients of a sub-group that is read from NVMe
OPTIMIZER_BUFFERS = 4
# parameters read from NVMe that are in memory at once: two blocks, at the most so many in each
PARAMETER_BUFFERS = 40


def settings_of(precision: str, width: int, largest: int, ranks: int, offload: Mapping[str, Any]) -> dict[str, Any]:
    """DeepSpeed's configuration, by the model's width and the elements of its largest parameter.

    Clipping, schedule, accumulation and loss scaling are ours, because its own differ from what a run promises.
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
        # any other loss scale would skip a step that overflows
        "fp16": {"enabled": precision == "fp16", "loss_scale": 1},
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
            "sub_group_size": SUB_GROUP,
            **_offload(largest, ranks, offload),
        },
        "zero_allow_untested_optimizer": True,
        # the same AdamW wherever the optimizer is
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    }


def _offload(largest: int, ranks: int, offload: Mapping[str, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    pinned = torch.cuda.is_available()
    if offload["optimizer"] != "none":
        sections["offload_optimizer"] = {"device": offload["optimizer"], "pin_memory": pinned, "buffer_count": OPTIMIZER_BUFFERS}
    if offload["parameters"] != "none":
        sections["offload_param"] = {
            "device": offload["parameters"],
            "pin_memory": pinned,
            "buffer_size": -(-largest // ranks),
            "buffer_count": PARAMETER_BUFFERS,
            # what is to be on NVMe is not kept in memory as well
            "max_in_cpu": 0,
        }
    for section in sections.values():
        if section["device"] == "nvme":
            section["nvme_path"] = offload["directory"]
    return sections


def quiet() -> None:
    """DeepSpeed logs to standard output at every step, and would compile an operator for the CPU when it starts."""
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
