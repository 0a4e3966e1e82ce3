"""Compares what stock TensorBoard shows of a training that is killed with its metrics.jsonl: python3 test/interop/tensorboard.py.

Needs tensorboard (2.21) and a built dist/. Two of its readers watch from the first step on: the data server, asked through
`tensorboard --logdir`, and Python's EventAccumulator. Others begin when all is over. Exits with 1 if a step shows twice, is
missing or has another value.
"""

from __future__ import annotations

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

# this file is named as the library
HERE = pathlib.Path(sys.path.pop(0)).resolve()

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

sys.path.append(str(HERE))

import killed_run  # noqa: E402

TAGS = {
    "train/loss": "loss",
    "train/gradient_norm": "gradientNorm",
    "train/learning_rate": "learningRate",
    "train/tokens_per_second": "tokensPerSecond",
    "eval/loss": "evalLoss",
}
Points = list[tuple[int, float]]
PORT = 6123


def rounded(value: float) -> float:
    """As fp32, in which event files have figures."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def served(port: int, tag: str) -> Points:
    """What a TensorBoard shows of a tag."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag={tag}") as answer:
        return [(step, value) for _, step, value in json.load(answer)]


def accumulated(reader: EventAccumulator, tag: str) -> Points:
    """What the Python reader has of a tag."""
    return [(event.step, event.value) for event in reader.Scalars(tag)]


def start(directory: pathlib.Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    """Starts TensorBoard."""
    line = [sys.executable, "-m", "tensorboard.main", "--logdir", str(directory), "--port", str(port), "--reload_interval", "1", *more]
    # its own directory would shadow the library
    return subprocess.Popen(line, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONSAFEPATH": "1"})


def main() -> None:
    """Runs and compares."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="roslin-tensorboard-"))
    killed_run.prepare(work)
    boards: list[subprocess.Popen[bytes]] = []
    live: list[EventAccumulator] = []
    over = threading.Event()

    def watch() -> None:
        while killed_run.last_step(work) < 1:
            time.sleep(0.01)
        directory = killed_run.stage_directory(work) / "tensorboard"
        boards.append(start(directory, PORT, "--load_fast", "true"))
        live.append(EventAccumulator(str(directory), {"scalars": 0}))
        while not over.is_set():
            live[0].Reload()
            time.sleep(0.05)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        directory = killed_run.train(work, [11, 24, 25, 48]) / "tensorboard"
        over.set()
        watching.join()
        boards.append(start(directory, PORT + 1, "--load_fast", "false"))
        fresh = EventAccumulator(str(directory), {"scalars": 0})
        for reader in (live[0], fresh):
            reader.Reload()
        time.sleep(15)
        known = killed_run.lines(work)
        assert [line["step"] for line in known] == list(range(1, killed_run.STEPS + 1))
        assert len(list(directory.iterdir())) == 1
        for tag, name in TAGS.items():
            expected = [(line["step"], rounded(line[name])) for line in known if name in line]
            for who, got in {
                "the data server, watching": served(PORT, tag),
                "Python behind HTTP, afterwards": served(PORT + 1, tag),
                "Python, watching": accumulated(live[0], tag),
                "Python, afterwards": accumulated(fresh, tag),
            }.items():
                same = [(step, rounded(value)) for step, value in got] == expected
                print(f"{tag}: {len(got)} points by {who}: {'equal' if same else 'DIFFERENT'}")
                if not same:
                    raise SystemExit(f"expected {expected}\ngot {got}")
    finally:
        over.set()
        for board in boards:
            board.kill()


main()
