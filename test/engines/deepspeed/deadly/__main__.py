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
    train(WIRE)
    sys.stdout.flush()
    os._exit(0)


main()
