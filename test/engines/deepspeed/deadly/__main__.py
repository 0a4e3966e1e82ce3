"""The engine's program, with a step that is deadly as the variable DEADLY says: see test/workers/deadly.ts."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4] / "engines" / "deepspeed" / "rank"))

from wire import Wire  # noqa: E402

WIRE = Wire()

import torch  # noqa: E402

# as the program itself says it
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

from deepspeed.accelerator import get_accelerator  # noqa: E402

import loss_scale  # noqa: E402
import step  # noqa: E402
from training import train  # noqa: E402


def strike(file: str, kind: str) -> None:
    """Takes the next of the files and strikes; without one it was deadly often enough."""
    found = next((path for path in (Path(f"{file}.{number}") for number in range(1, 7)) if path.exists()), None)
    if found is None:
        return
    found.unlink()
    if kind == "throw":
        raise RuntimeError("the step has failed, as the test wants")
    if kind == "memory":
        torch.empty(2**58)
    if kind == "gpu-memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 39.39 GiB")
    if kind == "exit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, kind))


def main() -> None:
    deadly: dict[str, Any] | None = json.loads(os.environ.get("DEADLY", "null"))
    usual = step.Trainer.step

    def deadly_step(self: step.Trainer, plan: step.Plan) -> step.Outcome:
        if deadly is not None and plan.index == deadly["step"] and any(each.shard == deadly["shard"] for each in plan.passes):
            strike(deadly["file"], deadly["signal"])
        return usual(self, plan)

    step.Trainer.step = deadly_step  # type: ignore[method-assign]
    if "FP16_WINDOW" in os.environ:
        # torch computes in float16 on any CPU, and DeepSpeed refuses that; a loss scale that grows early overflows
        get_accelerator().is_fp16_supported = lambda: True
        loss_scale.WINDOW = int(os.environ["FP16_WINDOW"])
    if "FP16_REFUSED" in os.environ:
        get_accelerator().is_fp16_supported = lambda: False
    train(WIRE)
    sys.stdout.flush()
    os._exit(0)


main()
