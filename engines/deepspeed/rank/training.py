"""A rank's training, from the attempt's first step until the last, or until the coordinator says stop."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
import traceback
from typing import Any

import torch
from deepspeed.accelerator import get_accelerator

import async_io
import group
from async_io import Refused
from checkpoint import CheckpointSender
from loss_scale import LossScale
from model import beat, build
from settings import quiet, settings_of
from step import NotFinite, Plan, Trainer, read_passes
from tensors import Base, Checkpoint
from wire import Wire
from zero import Zero

# how long a collective of GPUs waits for a rank that does not answer
GPU_TIMEOUT_SECONDS = 45
# words of torch's allocators for CPUs, and of CUDA where torch's allocator was not asked
NO_MEMORY = ("not enough memory", "can't allocate memory")
NO_GPU_MEMORY = "out of memory"
# glibc's names for options of malloc, and what it sets by itself in the long run: larger blocks are mapped, and unmapped when freed
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAPPED_BYTES = 2**25


class Rank:
    """One rank, and where it is."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._barriers = 0
        self.place = "while it started"

    def run(self) -> None:
        """Says every event of its training but a failure."""
        work = self._wire.hear("begin")
        zero, trainer, sender = self._start(work)
        self._barrier()
        started = time.perf_counter()
        for index in range(work["resumeStep"], work["totalSteps"]):
            self.place = f"in the step with index {index}"
            plan = Plan.read(self._wire.hear("step"))
            try:
                outcome = trainer.step(plan)
            except NotFinite as found:
                self._wire.say("notFinite", step=index, loss=str(found.loss), norm=str(found.norm), shards=found.shards)
                return
            ended = time.perf_counter()
            evaluation = self._evaluate(trainer, index + 1) if plan.evaluates else None
            directive = self._barrier(
                stepsDone=index + 1,
                loss=outcome.loss,
                norm=outcome.norm,
                lossScale=outcome.loss_scale,
                seconds=ended - started,
                spent=outcome.spent,
                evaluation=evaluation,
            )
            # what the test rows took is no step's time
            started = ended + (evaluation["seconds"] if evaluation else 0.0)
            if directive != "go":
                self.place = f"while it saved after {index + 1} steps"
                sender.send(index + 1, trainer.updates)
            if directive in ("stop", "finish"):
                self._wire.say("done", stepsDone=index + 1, status="stopped" if directive == "stop" else "finished")
                return

    def _start(self, work: dict[str, Any]) -> tuple[Zero, Trainer, CheckpointSender]:
        rank, ranks = work["rank"], work["ranks"]
        _prepare_device(rank, ranks)
        quiet()
        if work["precision"] == "fp16" and not get_accelerator().is_fp16_supported():
            raise Refused('train.precision "fp16" needs a GPU, because this CPU does not compute in fp16: take "bf16"')
        if "nvme" in (work["offload"]["optimizer"], work["offload"]["parameters"]):
            self.place = "while it compiled what reads and writes NVMe"
            async_io.load()
        on_gpu = torch.cuda.is_available()
        seconds = GPU_TIMEOUT_SECONDS if on_gpu else work["timeoutSeconds"]
        ranks_met = group.join(self._wire, work["address"], work["interface"], rank, ranks, seconds)
        largest = max(math.prod(each["shape"]) for each in work["parameters"])
        settings = settings_of(work["precision"], work["width"], largest, ranks, work["offload"])
        built = build(work, settings, work["keepActivations"] and not on_gpu)
        beat(built, self._wire.moved)
        resume = work["resume"]
        base = Base(work["files"])
        source = Base(work["initial"]) if resume is None else Checkpoint(resume["files"])
        optimizer = {
            "lr": 0.0,
            "betas": tuple(work["betas"]),
            "eps": work["epsilon"],
            "weight_decay": work["weightDecay"],
        }
        zero = Zero(built, settings, optimizer, base, source, self._wire.moved, ranks_met)
        updates = 0 if resume is None else resume["updates"]
        scale = LossScale(work["precision"], None if resume is None else resume["lossScale"])
        trainer = Trainer(zero, built, work["maxGradNorm"], scale, updates, self._wire)
        return zero, trainer, CheckpointSender(zero, built.trained, work["shards"], self._wire)

    def _evaluate(self, trainer: Trainer, steps: int) -> dict[str, Any]:
        """The loss on the test rows with the weights as they are; null where it is not finite."""
        self.place = f"while it computed the test rows after {steps} steps"
        started = time.perf_counter()
        self._arrive(evaluates=True)
        total = 0.0
        while True:
            order = self._wire.hear("evaluate")
            total += trainer.losses(read_passes(order))
            if order["last"]:
                break
        loss = trainer.mean(total, order["labels"])
        return {"loss": loss if math.isfinite(loss) else None, "seconds": time.perf_counter() - started}

    def _barrier(self, **end: Any) -> str:
        return self._arrive(**({"end": end} if end else {}))

    def _arrive(self, **more: Any) -> str:
        self._barriers += 1
        self._wire.say("arrive", barrier=self._barriers, **more)
        order = self._wire.hear("release")
        if order["barrier"] != self._barriers:
            raise RuntimeError(f"expected the release of barrier {self._barriers}, got {order['barrier']}")
        return str(order["directive"])


def train(wire: Wire) -> None:
    """Trains, and says how it failed where it failed."""
    # not before: while a library is loaded from a slow disk, Python runs no other thread
    wire.live()
    rank = Rank(wire)
    try:
        rank.run()
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        sys.stderr.flush()
        wire.say("failed", name=_name(error), message=_message(error), place=rank.place)


def _give_memory_back() -> None:
    """What started this process may have told malloc to keep what is freed: tensors of all sizes would leave gaps for good."""
    if sys.platform == "linux":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * MAPPED_BYTES)


def _prepare_device(rank: int, ranks: int) -> None:
    _give_memory_back()
    # the sums of one thread are always the same
    torch.set_num_threads(1)
    # DeepSpeed and NCCL ask for these; a process sees one device
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK="0")
    if torch.cuda.is_available():
        device = rank % torch.cuda.device_count()
        os.environ["LOCAL_RANK"] = str(device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.cuda.set_device(device)
        torch.use_deterministic_algorithms(True, warn_only=True)
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "") not in ("", "-1"):
        raise Refused(f"this worker was given the GPU {os.environ['CUDA_VISIBLE_DEVICES']}, and torch sees none: roslin doctor says why")


def _name(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError) or NO_GPU_MEMORY in str(error):
        return "GpuOutOfMemory"
    # on a CPU torch says so in words, where the system does not kill the process instead
    if any(words in str(error) for words in NO_MEMORY):
        return "OutOfMemory"
    if isinstance(error, Refused):
        return "UserError"
    return "PeerLostError" if group.is_lost_peer(error) else type(error).__name__


def _message(error: BaseException) -> str:
    if isinstance(error, Refused):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
