"""Tries the exporters in deploy/exporters on a training that is killed: python3 test/interop/exporters.py [mlflow wandb trackio].

Needs mlflow (or mlflow-skinny with sqlalchemy), wandb and trackio, and a built dist/. Nothing leaves the machine. Exits with 1
unless there is one run with each step once, its figures those of metrics.jsonl.
"""

from __future__ import annotations

import json
import pathlib
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

HERE = pathlib.Path(__file__).resolve().parent
EXPORTERS = HERE.parents[1] / "deploy" / "exporters"

import killed_run  # noqa: E402

Found = dict[str, list[tuple[int, float]]]
NAMES = {"loss": "train/loss", "gradientNorm": "train/gradient_norm", "learningRate": "train/learning_rate", "evalLoss": "eval/loss"}


def mlflow_found(work: pathlib.Path) -> Found:
    """What MLflow has."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{work}/mlflow.db")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    (run,) = runs
    assert run.info.status == "FINISHED", run.info.status
    return {name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)] for name in NAMES.values()}


def records(path: pathlib.Path) -> Iterator[bytes]:
    """The records of a .wandb file, which has LevelDB's log format after seven bytes."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        # whole, or the last part
        if kind in (1, 4):
            yield whole
            whole = b""


def wandb_found(work: pathlib.Path) -> Found:
    """What wandb wrote, over all directories of its one run."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    found: Found = {name: [] for name in NAMES.values()}
    files = sorted((work / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1, files
    for file in files:
        for each in records(file):
            record = Record.FromString(each)
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            for name in found.keys() & items.keys():
                found[name].append((items["_step"], items[name]))
    return found


def trackio_found(work: pathlib.Path) -> Found:
    """What Trackio has."""
    import os

    os.environ["TRACKIO_DIR"] = str(work / "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_run_records("roslin")
    logs = SQLiteStorage.get_logs("roslin", run["name"])
    return {name: [(log["step"], log[name]) for log in logs if name in log] for name in NAMES.values()}


FOUND: dict[str, Callable[[pathlib.Path], Found]] = {"mlflow": mlflow_found, "wandb": wandb_found, "trackio": trackio_found}


def main() -> None:
    """Runs and compares."""
    for name in sys.argv[1:] or FOUND:
        work = pathlib.Path(tempfile.mkdtemp(prefix=f"roslin-{name}-"))
        killed_run.prepare(work)
        more = {
            "ROSLIN_METRICS_COMMAND": f"{sys.executable} {EXPORTERS}/{name}_exporter.py",
            "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db",
            "WANDB_MODE": "offline",
            "WANDB_DIR": str(work),
            "TRACKIO_DIR": str(work / "trackio"),
            "DO_NOT_TRACK": "1",
        }
        directory = killed_run.train(work, [11, 30], more)
        # the command goes on for a moment after the training
        pid = json.loads((directory / "exporter.pid").read_text())["pid"]
        while pathlib.Path(f"/proc/{pid}").exists():
            time.sleep(0.1)
        print((directory / "exporter.log").read_text(), file=sys.stderr)
        known = killed_run.lines(work)
        commits = [json.loads(each.read_text()) for each in sorted(directory.glob("commits/*.json"))]
        names = {each["runId"] for each in commits if each["kind"] == "exporter"}
        assert len(names) <= 1, names
        for tag, points in FOUND[name](work).items():
            field = next(field for field, other in NAMES.items() if other == tag)
            expected = [(line["step"], line[field]) for line in known if field in line]
            same = sorted(points) == expected
            print(f"{name} {tag}: {len(points)} points: {'equal' if same else 'DIFFERENT'}")
            if not same:
                raise SystemExit(f"expected {expected}\ngot {points}")


main()
