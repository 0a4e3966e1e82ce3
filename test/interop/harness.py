"""Compares Roslin's scores of the seven tasks with lm-evaluation-harness: python3 harness.py [--items 200] [--model DIR ...].

Needs a built dist/ and lm_eval==0.4.13 with transformers 5 and torch. Without --model it takes a model of the demo's kind. Invented
items of each task, awkward ones among them, are scored by lm_eval in fp32 and by the stage evaluate. Every log-likelihood must
agree within 1e-3, and acc and acc_norm must be the same. Exits with 1 if something differs. With --record it writes
test/reference/harness.json, a few items of each task on a small model, which the default tests read.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

WORK = tempfile.mkdtemp(prefix="harness-")
os.environ.update(HF_HOME=f"{WORK}/hf", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", LOGLEVEL="ERROR")
HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE))

import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402
from harness_items import TASKS, Row, rows_of  # noqa: E402
from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402

SEED = 42
TOLERANCE = 1e-3
REFERENCE = HERE.parent / "reference"
# ARC and OpenBookQA are scored on their test splits
SPLITS = {"openbookqa": "test", "arc_easy": "test", "arc_challenge": "test"}
# the others are Parquet files, as on the hub
JSON_LINES = ("piqa", "arc_challenge")


def roslin(*arguments: str) -> str:
    return subprocess.run(["node", str(HERE / "harness.mjs"), *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def write(task: str, rows: list[Row], directory: pathlib.Path) -> pathlib.Path:
    directory.mkdir(parents=True, exist_ok=True)
    if task in JSON_LINES:
        path = directory / f"{task}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    path = directory / f"{task}.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def by_harness(model: str, data: dict[str, pathlib.Path]) -> dict[str, Any]:
    lm = HFLM(pretrained=model, dtype="float32", softmax_dtype="float32", device="cpu", batch_size=4)
    manager = TaskManager()
    tasks: list[str | dict[str, Any]] = []
    for task, path in data.items():
        # a description with a known name does not go on from its file by itself
        path_of_yaml = manager.task_index[task].yaml_path
        assert path_of_yaml is not None
        known = {key: value for key, value in load_yaml(path_of_yaml, resolve_func=True).items() if key != "tag"}
        kind = "json" if task in JSON_LINES else "parquet"
        # the splits of examples are read, and are not used without examples
        local = {"data_files": dict.fromkeys(("train", "validation", SPLITS.get(task, "validation")), str(path))}
        tasks.append({**known, "dataset_path": kind, "dataset_name": None, "dataset_kwargs": local})
    results = simple_evaluate(lm, tasks=tasks, bootstrap_iters=0, log_samples=True, task_manager=manager)
    assert isinstance(results, dict)
    return results


def small_model(directory: pathlib.Path) -> str:
    """A model of 128 positions with a tokenizer of bytes."""
    shutil.copytree(REFERENCE / "gptj-tiny", directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        shutil.copy(REFERENCE / "gptj-derivatives" / "dolly-v1" / name, directory)
    return str(directory)


def compare(model: str, rows: dict[str, list[Row]], directory: pathlib.Path) -> tuple[bool, dict[str, Any]]:
    data = {task: write(task, made, directory / "data") for task, made in rows.items()}
    spec = directory / "spec.json"
    spec.write_text(json.dumps({"model": model, "work": str(directory), "data": {task: str(path) for task, path in data.items()}}))
    ours = json.loads(roslin("score", str(spec)))
    started = time.monotonic()
    theirs = by_harness(model, data)
    print(f"{model}: {ours['seconds']:.0f} s, lm_eval {time.monotonic() - started:.0f} s")
    same = True
    record: dict[str, Any] = {}
    for task in rows:
        answer = ours["answers"][task]
        samples = sorted(theirs["samples"][task], key=lambda sample: int(sample["doc_id"]))
        expected = [[float(ll) for ll, _ in sample["filtered_resps"]] for sample in samples]
        got = answer["logLikelihoods"]
        assert [len(each) for each in got] == [len(each) for each in expected]
        worst = max(abs(a - b) for pair in zip(got, expected, strict=True) for a, b in zip(*pair, strict=True))
        scores = {metric: theirs["results"][task].get(f"{metric},none") for metric in ("acc", "acc_norm")}
        found = {metric: answer["report"].get(metric, {}).get("base") for metric in scores}
        fine = worst <= TOLERANCE and all(scores[metric] == found[metric] for metric in scores)
        same &= fine
        count = sum(map(len, expected))
        apart = f"{len(samples)} items, {count} choices, at most {worst:.1e} apart"
        print(f"{'same ' if fine else 'OTHER'} {task}: {apart}; {scores}, Roslin {found}")
        record[task] = {
            "rows": rows[task],
            "logLikelihoods": expected,
            **{metric: value for metric, value in scores.items() if value is not None},
        }
    return same, record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    root = pathlib.Path(WORK)
    if args.record:
        _, record = compare(small_model(root / "small"), {task: rows_of(task, 8, SEED) for task in TASKS}, root / "recorded")
        (REFERENCE / "harness.json").write_text(json.dumps(record, ensure_ascii=True) + "\n")
    same = True
    for index, model in enumerate(args.model or [roslin("model", str(root / "demo"))]):
        same &= compare(model, {task: rows_of(task, args.items, SEED) for task in TASKS}, root / str(index))[0]
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
