"""A small training with `roslin stage`, all of whose processes are killed at some steps; it goes on each time."""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 60


def prepare(work: pathlib.Path) -> None:
    """Writes settings and rows, and runs the stages before training."""
    draw = random.Random(7)
    rows = []
    for _ in range(44):
        ids = [draw.randrange(320) for _ in range(draw.randint(12, 24))]
        rows.append({"input_ids": ids, "labels": [-100, -100, *ids[2:]]})
    (work / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {
        "model": {"source": f"file://{CHECKOUT}/test/reference/gptj-tiny"},
        "dataset": {"source": f"file://{work}/rows.jsonl"},
        "preprocess": {"testRows": 4},
        "train": {
            "shards": 4,
            "microBatch": 2,
            "epochs": STEPS // 5,
            "learningRate": 1e-3,
            "warmupSteps": 3,
            "schedule": "cosine",
            "checkpointEverySteps": 7,
            "evalEverySteps": 5,
        },
    }
    (work / "config.json").write_text(json.dumps(settings))
    for stage in ("download", "preprocess"):
        subprocess.run(command(stage, work), check=True, env=environment(work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def environment(work: pathlib.Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a stage."""
    return {**os.environ, "ROSLIN_HOME": str(work / "home"), **(more or {})}


def command(stage: str, work: pathlib.Path) -> list[str]:
    """The command that runs a stage."""
    return [
        "node",
        str(CHECKOUT / "bin" / "roslin.js"),
        "stage",
        stage,
        "--config",
        str(work / "config.json"),
        "--dir",
        str(work / "stages"),
        "--workers",
        "2",
    ]


def train(work: pathlib.Path, kills: Sequence[int], more: Mapping[str, str] | None = None) -> pathlib.Path:
    """Trains to the end, killed after each of these steps once they are seen; returns the stage's directory."""
    for step in [*kills, None]:
        running = subprocess.Popen(command("train", work), env=environment(work, more), stderr=subprocess.PIPE, start_new_session=True)
        while step is not None and running.poll() is None and last_step(work) < step:
            time.sleep(0.005)
        if step is not None and running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            print(f"killed after step {last_step(work)}")
        _, errors = running.communicate()
        if step is None and running.returncode != 0:
            raise SystemExit(errors.decode())
    return stage_directory(work)


def stage_directory(work: pathlib.Path) -> pathlib.Path:
    """Where the training has its files."""
    return next((work / "stages").glob("train/*/"))


def lines(work: pathlib.Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, as they are now."""
    found = list((work / "stages").glob("train/*/metrics.jsonl"))
    text = found[0].read_text() if found else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def last_step(work: pathlib.Path) -> int:
    """Steps done according to metrics.jsonl."""
    known = lines(work)
    return int(known[-1]["step"]) if known else 0
