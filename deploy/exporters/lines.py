"""What a metrics command is told, and how it answers: docs/metrics.md."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

# a line's field and what it is called in the other program's records
NAMES = {
    "loss": "train/loss",
    "gradientNorm": "train/gradient_norm",
    "learningRate": "train/learning_rate",
    "tokensPerSecond": "train/tokens_per_second",
    "epoch": "train/epoch",
    "evalLoss": "eval/loss",
}
# steps done, seconds since 1970, and the figures that there are
Step = tuple[int, float, dict[str, float]]
# every step has it
ALWAYS = NAMES["learningRate"]


def head() -> dict[str, Any]:
    """The first line: name, runId, generation, resumedStep, totalSteps, settings."""
    line: dict[str, Any] = json.loads(sys.stdin.readline())
    return line


def steps() -> Iterator[Step]:
    """The steps as they come, one for each line."""
    for text in sys.stdin:
        line = json.loads(text)
        yield line["step"], line["time"], {name: line[field] for field, name in NAMES.items() if line.get(field) is not None}


def batches(most: int) -> Iterator[list[Step]]:
    """The steps as they come; those that come while a batch is sent are the next one, up to `most`."""
    waiting: queue.SimpleQueue[Step | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for step in steps():
                waiting.put(step)
        finally:
            waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    more = True
    while more:
        first = waiting.get()
        found = [first, *(waiting.get() for _ in range(min(most - 1, waiting.qsize())))]
        batch = [step for step in found if step is not None]
        # the end is the last one, and comes once
        more = len(batch) == len(found)
        if batch:
            yield batch


def answer(run_id: str) -> None:
    """Tells Roslin what this run is called, so that a resume goes on in it."""
    print(json.dumps({"runId": run_id}), flush=True)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found
