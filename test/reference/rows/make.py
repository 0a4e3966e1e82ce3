"""Makes small data files as Python's libraries write them: python3 make.py, in this directory.

Made with pyarrow 26.0.1, datasets 5.2.0 and zstd 1.5.4. expected.json holds the rows as pyarrow reads them back.
"""

import json
import pathlib
import shutil
import subprocess

import pyarrow
import pyarrow.feather
import pyarrow.parquet
from datasets import Dataset

HERE = pathlib.Path(__file__).resolve().parent
ROWS = [
    {"instruction": "\ufeffmark", "input": None, "output": "日本 🐑\r\n", "messages": [{"role": "user", "content": 'say "hi"'}, {"role": "assistant", "content": None}], "input_ids": [1, -100, 2**40], "meta": {"score": 0.5, "good": True, "tags": ["a", None]}},
    {"instruction": "", "input": "a,b;c", "output": "a text that is longer than the twelve bytes that a view holds itself", "messages": [], "input_ids": [], "meta": None},
    {"instruction": "third", "input": "", "output": None, "messages": None, "input_ids": None, "meta": {"score": None, "good": None, "tags": []}},
    {"instruction": "fourth", "input": " ", "output": "x" * 300, "messages": [None, {"role": "user", "content": ""}], "input_ids": [50256], "meta": {"score": -1e300, "good": False, "tags": None}},
]  # fmt: skip
STRUCTS = {
    "messages": lambda list_: list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])),
    "input_ids": lambda list_: list_(pyarrow.int64()),
    "meta": lambda list_: pyarrow.struct([("score", pyarrow.float64()), ("good", pyarrow.bool_()), ("tags", list_(pyarrow.string()))]),
}
TEXTS = ["instruction", "input", "output"]


def table_of(string=pyarrow.string(), list_=pyarrow.list_):
    schema = pyarrow.schema([(name, string) for name in TEXTS] + [(name, of(list_)) for name, of in STRUCTS.items()])
    return pyarrow.Table.from_pylist(ROWS, schema=schema)


def stream(name, table, chunk, **options):
    with pyarrow.ipc.new_stream(str(HERE / name), table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=chunk)


table = table_of()
(HERE / "expected.json").write_text(json.dumps(table.to_pylist(), indent=1, ensure_ascii=False))
Dataset(table).save_to_disk(str(HERE / "saved"))
shutil.move(HERE / "saved" / "data-00000-of-00001.arrow", HERE / "saved.arrow")
shutil.rmtree(HERE / "saved")
stream("batches.arrow", table_of(pyarrow.large_string(), pyarrow.large_list), 3)
stream("stream-zstd.arrow", table, 2, compression="zstd")
pyarrow.feather.write_feather(table, str(HERE / "feather-lz4.arrow"), compression="lz4", chunksize=3)
pyarrow.feather.write_feather(table, str(HERE / "feather.arrow"), compression="uncompressed")
words = table.set_column(0, "instruction", table["instruction"].dictionary_encode())
stream("words.arrow", words.set_column(2, "output", table["output"].cast(pyarrow.string_view())), 2)
pyarrow.parquet.write_table(table, str(HERE / "nested.parquet"), row_group_size=3)
pyarrow.parquet.write_table(table, str(HERE / "nested-pages.parquet"), data_page_version="2.0", compression="gzip", write_page_index=True, use_dictionary=False)

# a column for each thing that is content, and for each that is not
COLUMNS = {
    "instruction": ["a", "b", "c"],
    "output": ["a", "b", "c"],
    "blank": ["", " \t\u3000", ""],
    "empty": ["", "", ""],
    "nulls": pyarrow.array([None] * 3, pyarrow.string()),
    "nothing": pyarrow.array([None] * 3, pyarrow.null()),
    "empty_lists": pyarrow.array([[], None, []], pyarrow.list_(pyarrow.string())),
    "blank_lists": pyarrow.array([[None, ""], None, []], pyarrow.list_(pyarrow.string())),
    "hollow": pyarrow.array([{"a": None}, None, {"a": ""}], pyarrow.struct([("a", pyarrow.string())])),
    "late": ["", "", "content"],
    "early": ["\u3000", "content", None],
    "zero": [0, 0, 0],
    "one_number": pyarrow.array([None, None, 1.5], pyarrow.float64()),
    "false": [False, False, False],
    "turns": pyarrow.array([[], [["", "question"]], []], pyarrow.list_(pyarrow.list_(pyarrow.string()))),
    "date": pyarrow.array([None, 0, None], pyarrow.timestamp("us")),
    "long": ["\u3000" * 40, "\u3000" * 40 + "x", ""],
    "system": ["", "", "x"],
}  # fmt: skip
contents = pyarrow.table(COLUMNS)
pyarrow.parquet.write_table(contents, str(HERE / "contents.parquet"))
pyarrow.parquet.write_table(contents, str(HERE / "contents-no-statistics.parquet"), write_statistics=False, row_group_size=2)
stream("contents.arrow", contents, 2)

# real frames: two, one of them of a high level and with a wide window, and one that is empty
lines = "".join(json.dumps({"instruction": f"question {number % 7}", "output": "answer " * (number % 40)}) + "\n" for number in range(4000)).encode()
zstd = lambda data, *options: subprocess.run(["zstd", "-c", *options], input=data, check=True, capture_output=True).stdout
(HERE / "frames.jsonl.zst").write_bytes(zstd(lines[:200_000]) + zstd(lines[200_000:], "-19", "--long=24") + zstd(b""))
