#!/usr/bin/env bash
# lm_eval 0.4.13, TaskManager.load and simple_evaluate(tasks=...): a dict {"task": "openbookqa", "dataset_path": ...} that names
# a registered task and changes some of its fields means two things. In the list of a group it is the registered task with
# these fields changed. By itself it is a new task that has only these fields, and the registered YAML is not read, without a
# word about it: here no split is named and the output type is the default, so the error blames the dataset.
#
# Seen on 2026-11-30, the same dict, a local Parquet file as the data:
#   in a group: multiple_choice, 1 document, 2 choices
#   by itself:  ValueError: Task dataset (path=parquet, name=None) must have valid or test docs!
#
# What to do: put the dict into a group, or write a YAML file that includes the task's own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check lm_eval==0.4.13
cat >look.py <<'PY'
import sys

import datasets
from lm_eval.tasks import TaskManager

datasets.disable_progress_bars()
row = {"question_stem": "The sun is", "choices": {"text": ["hot", "cold"], "label": ["A", "B"]}, "answerKey": "A"}
datasets.Dataset.from_list([row]).to_parquet("rows.parquet")
files = {split: "rows.parquet" for split in ("train", "validation", "test")}
spec = {
    "task": "openbookqa",
    "dataset_path": "parquet",
    "dataset_name": None,
    "dataset_kwargs": {"data_files": files},
}
manager = TaskManager()
task = manager.load([{"group": "own", "task": [dict(spec)]}])["tasks"]["openbookqa"]
documents = list(task.test_docs())
grouped = f"{task.config.output_type}, {len(documents)} document, {len(task.doc_to_choice(documents[0]))} choices"
print(f"in a group: {grouped}")
try:
    alone = manager.load([dict(spec)])["tasks"]["openbookqa"].config.output_type
except ValueError as error:
    alone = f"ValueError: {error}"
print(f"by itself:  {alone}")
expected = "ValueError: Task dataset (path=parquet, name=None) must have valid or test docs!"
sys.exit(0 if grouped == "multiple_choice, 1 document, 2 choices" and alone == expected else 1)
PY
HF_HUB_OFFLINE=1 HF_HOME="$work/home" python/bin/python look.py 2>/dev/null
