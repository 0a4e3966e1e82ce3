#!/usr/bin/env bash
# datasets 5.2.0, load_dataset: a file that two patterns of one list match is read twice. The list ["a.json", "a*.json"], in
# data_files or in the configs of a dataset's card, gives each row of a.json two times, without a word. A card that names a
# file and then a pattern for files that come later thus doubles the weight of the first one, in training and in evaluation.
#
# Seen on 2026-11-30, for a file of two rows:
#   data_files: 4 rows [1, 2, 1, 2]
#   card:       4 rows [1, 2, 1, 2]
#
# What to do: take the set of the files that the patterns of a split match.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0
mkdir d
echo '[{"a": 1}, {"a": 2}]' >d/a.json
printf -- '---\nconfigs:\n- config_name: default\n  data_files: ["a.json", "a*.json"]\n---\n' >d/README.md
cat >look.py <<'PY'
import sys
import datasets

datasets.disable_progress_bars()
named = datasets.load_dataset("json", data_files=["d/a.json", "d/a*.json"], split="train")
card = datasets.load_dataset("./d", split="train")
print(f"data_files: {named.num_rows} rows {named['a'][:]}")
print(f"card:       {card.num_rows} rows {card['a'][:]}")
sys.exit(0 if named["a"][:] == card["a"][:] == [1, 2, 1, 2] else 1)
PY
HF_HUB_OFFLINE=1 HF_HOME="$work/home" python/bin/python look.py
