"""What a metrics command is told, and how it answers: docs/metrics.md."""

from __future__ import annotations

import json
import sys
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
# every step has it
ALWAYS = NAMES["learningRate"]


def head() -> dict[str, Any]:
    """The first line: name, runId, generation, resumedStep, totalSteps, settings."""
    line: dict[str, Any] = json.loads(sys.stdin.readline())
    return line


def steps() -> Iterator[tuple[int, float, dict[str, float]]]:
    """Steps done, seconds since 1970, and the figures that there are, for each line."""
    for text in sys.stdin:
        line = json.loads(text)
        yield line["step"], line["time"], {name: line[field] for field, name in NAMES.items() if line.get(field) is not None}


def answer(run_id: str) -> None:
    """Tells Roslin what this run is called, so that a resume goes on in it."""
    print(json.dumps({"runId": run_id}), flush=True)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found
