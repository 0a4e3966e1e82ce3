"""Compares rows as Roslin and `datasets` read them: python3 formats.py [--rows 10000] [--keep DIRECTORY].

Writes the same rows (unicode, quotes, line breaks, empty, long; conversations and lists of numbers where the format has them)
in each format that Roslin reads, with Python's own writers, and reads each file with Roslin and with `datasets`. Every field of
every row must be the same. A .zst file is compared with the plain one, because `datasets` needs one more package for it. Needs
datasets, pyarrow and pandas, and a built dist/ (npx --no roslin setup). Prints a line for each file; exits with 1 if one differs.
"""

import argparse
import csv
import gzip
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import pyarrow
import pyarrow.feather
import pyarrow.parquet
from datasets import Dataset, Features, disable_progress_bars, load_dataset, load_from_disk

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = ["instruction", "input", "output"]
NESTED = ["messages", "numbers", "facts"]
PIECES = ["word", "Ünïcode", "日本語", "🐑🧬", '"quoted"', '""', "it's", "a,b;c|d", "tab\there", "line\nbreak", "carriage\r\nreturn", "\\n", "\\", "{}", "[1]", "null", "NaN", "NA", "\u2028", "\ufeff", "\x7f", " ", "<p>", "=1+1", "#"]


def text(random_: random.Random, length: int) -> str:
    return " ".join(random_.choice(PIECES) for _ in range(length))


def make_rows(count: int) -> list[dict]:
    made = random.Random(17)
    rows = []
    for number in range(count):
        lengths = [made.choice([0, 1, 3, 12, 40]) for _ in TEXTS]
        if number % 1009 == 0:
            lengths[2] = 8000
        row = {name: text(made, length) for name, length in zip(TEXTS, lengths)}
        row["instruction"] = row["instruction"] or "x"
        if number % 7 == 0:
            row["input"] = None
        row["messages"] = [{"role": made.choice(["user", "assistant"]), "content": text(made, made.randrange(4))} for _ in range(made.randrange(4))]
        row["numbers"] = [made.choice([0, -100, 2**31, 2**53 - 1, -(2**40), made.randrange(50400)]) for _ in range(made.randrange(6))]
        row["facts"] = {"source": text(made, 1), "score": made.choice([None, 0.5, 1.0, -3.25]), "good": made.choice([True, False, None])}
        rows.append(row)
    return rows


def table_of(rows: list[dict], string=pyarrow.string(), list_of=pyarrow.list_) -> pyarrow.Table:
    schema = pyarrow.schema(
        [(name, string) for name in TEXTS]
        + [
            ("messages", list_of(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))),
            ("numbers", list_of(pyarrow.int64())),
            ("facts", pyarrow.struct([("source", pyarrow.string()), ("score", pyarrow.float64()), ("good", pyarrow.bool_())])),
        ]
    )
    return pyarrow.Table.from_pylist(rows, schema=schema)


def roslin(path: pathlib.Path, columns: list[str]) -> list:
    command = ["node", str(HERE / "formats.mjs"), str(path), *columns]
    return [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n") if line]


def write_csv(path: pathlib.Path, rows: list[dict], opened=open, **options) -> None:
    with opened(path, "wt", encoding=options.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.DictWriter(file, TEXTS, extrasaction="ignore", **options)
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: pathlib.Path, content: str, opened=open) -> None:
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        file.write(content)


def zstd(source: pathlib.Path, path: pathlib.Path) -> None:
    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(source.read_bytes())


def write_stream(path: pathlib.Path, table: pyarrow.Table, chunk: int, **options) -> None:
    with pyarrow.ipc.new_stream(str(path), table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=chunk)


def cases(directory: pathlib.Path, rows: list[dict], dataset):
    """Writes each file; yields its path, the columns to compare and how `datasets` reads it."""
    every = TEXTS + NESTED
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    raw = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    read_json = lambda path, **options: dataset("json", path, **options)

    def case(name, write, columns, read):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        write(path)
        return path, columns, read

    def plain(kind, name, **options):
        return lambda _: dataset(kind, directory / name, **options)

    yield case("escaped.jsonl", lambda p: write_text(p, lines), every, read_json)
    yield case("raw.jsonl", lambda p: write_text(p, raw), every, read_json)
    yield case("lines.ndjson", lambda p: write_text(p, raw), every, plain("json", "raw.jsonl"))
    yield case("lines.json", lambda p: write_text(p, raw), every, read_json)
    yield case("list.json", lambda p: write_text(p, json.dumps(rows)), every, read_json)
    yield case("pretty.json", lambda p: write_text(p, json.dumps(rows, indent=2, ensure_ascii=False)), every, read_json)
    yield case("objects.json", lambda p: write_text(p, "\n".join(json.dumps(row, indent=4) for row in rows)), every, plain("json", "raw.jsonl"))
    yield case("below.json", lambda p: write_text(p, json.dumps({"version": "1.0", "data": rows})), every, lambda p: read_json(p, field="data"))
    yield case("below-pretty.json", lambda p: write_text(p, json.dumps({"version": {"a": [1]}, "data": rows, "end": []}, indent=1)), every, plain("json", "below.json", field="data"))
    yield case("raw.jsonl.gz", lambda p: write_text(p, raw, gzip.open), every, read_json)
    yield case("list.json.gz", lambda p: write_text(p, json.dumps(rows), gzip.open), every, read_json)
    yield case("gzip-inside.json", lambda p: write_text(p, raw, gzip.open), every, read_json)
    yield case("raw.jsonl.zst", lambda p: zstd(directory / "raw.jsonl", p), every, plain("json", "raw.jsonl"))
    yield case("list.json.zstd", lambda p: zstd(directory / "list.json", p), every, plain("json", "list.json"))

    keep = dict(keep_default_na=False)
    yield case("comma.csv", lambda p: write_csv(p, rows), TEXTS, lambda p: dataset("csv", p, **keep))
    yield case("unix.csv", lambda p: write_csv(p, rows, lineterminator="\n"), TEXTS, lambda p: dataset("csv", p, **keep))
    yield case("excel.csv", lambda p: write_csv(p, rows, encoding="utf-8-sig"), TEXTS, lambda p: dataset("csv", p, **keep))
    yield case("quoted.csv", lambda p: write_csv(p, rows, quoting=csv.QUOTE_ALL), TEXTS, lambda p: dataset("csv", p, **keep))
    yield case("semicolon.csv", lambda p: write_csv(p, rows, delimiter=";"), TEXTS, lambda p: dataset("csv", p, sep=";", **keep))
    yield case("bar.csv", lambda p: write_csv(p, rows, delimiter="|"), TEXTS, lambda p: dataset("csv", p, sep="|", **keep))
    yield case("tab.csv", lambda p: write_csv(p, rows, delimiter="\t"), TEXTS, lambda p: dataset("csv", p, sep="\t", **keep))
    yield case("tab.tsv", lambda p: write_csv(p, rows, delimiter="\t"), TEXTS, lambda p: dataset("csv", p, sep="\t", **keep))
    yield case("comma.csv.gz", lambda p: write_csv(p, rows, gzip.open), TEXTS, lambda p: dataset("csv", p, **keep))
    yield case("tab.tsv.zst", lambda p: zstd(directory / "tab.tsv", p), TEXTS, plain("csv", "tab.tsv", sep="\t", **keep))

    table = table_of(rows)
    read_parquet = lambda path: dataset("parquet", path)
    for name, options in {
        "plain": dict(compression="none", use_dictionary=False),
        "snappy": dict(compression="snappy"),
        "gzip": dict(compression="gzip", row_group_size=999),
        "zstd": dict(compression="zstd", data_page_version="2.0"),
        "brotli": dict(compression="brotli", row_group_size=5000),
        "lz4": dict(compression="lz4", data_page_size=10_000),
        "indexed": dict(write_page_index=True, data_page_size=20_000, write_statistics=False),
    }.items():
        yield case(f"{name}.parquet", lambda p, o=options: pyarrow.parquet.write_table(table, str(p), **o), every, read_parquet)
    yield case("pandas.parquet", lambda p: table.to_pandas().to_parquet(str(p)), every, read_parquet)
    yield case("large.parquet", lambda p: pyarrow.parquet.write_table(table_of(rows, pyarrow.large_string(), pyarrow.large_list), str(p)), every, read_parquet)

    read_stream = lambda path: Dataset.from_file(str(path)).to_list()
    yield case("stream.arrow", lambda p: write_stream(p, table, 1000), every, read_stream)
    yield case("large.arrow", lambda p: write_stream(p, table_of(rows, pyarrow.large_string(), pyarrow.large_list), 4097), every, read_stream)
    for codec in ["lz4", "zstd"]:
        yield case(f"stream-{codec}.arrow", lambda p, c=codec: write_stream(p, table, 3000, compression=c), every, read_stream)
        yield case(f"feather-{codec}.arrow", lambda p, c=codec: pyarrow.feather.write_feather(table, str(p), compression=c), every, lambda p: pyarrow.feather.read_table(str(p)).to_pylist())
    yield case("feather.arrow", lambda p: pyarrow.feather.write_feather(table, str(p), compression="uncompressed", chunksize=777), every, lambda p: pyarrow.feather.read_table(str(p)).to_pylist())
    views = table.select(TEXTS).cast(pyarrow.schema([(name, pyarrow.string_view()) for name in TEXTS]))
    yield case("views.arrow", lambda p: write_stream(p, views, 2000), TEXTS, lambda p: pyarrow.ipc.open_stream(str(p)).read_all().to_pylist())
    words = pyarrow.table({name: table[name].dictionary_encode() for name in TEXTS})
    yield case("words.arrow", lambda p: write_stream(p, words.unify_dictionaries(), 2500), TEXTS, lambda p: pyarrow.ipc.open_stream(str(p)).read_all().to_pylist())
    yield case("words-file.arrow", lambda p: pyarrow.feather.write_feather(words.unify_dictionaries(), str(p)), TEXTS, lambda p: pyarrow.feather.read_table(str(p)).to_pylist())
    saved = Dataset(table)
    yield case("saved", lambda p: saved.save_to_disk(str(p), num_shards=3), every, lambda p: load_from_disk(str(p)).to_list())
    yield case("shuffled", lambda p: saved.shuffle(seed=1).select(range(len(rows) // 2)).save_to_disk(str(p)), every, lambda p: load_from_disk(str(p)).to_list())


def difference(expected: list[dict], got: list, columns: list[str], is_csv: bool) -> str | None:
    if len(expected) != len(got):
        return f"{len(expected)} rows, Roslin has {len(got)}"
    for number, (right, row) in enumerate(zip(expected, got)):
        if not isinstance(row, dict):
            return f"row {number}: {row}"
        for column in columns:
            value = right[column]
            # a table of text has no null
            if is_csv and value is None:
                value = ""
            if value != row[column]:
                return f"row {number}, {column}: {value!r:.200}, Roslin has {row[column]!r:.200}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--keep", type=pathlib.Path, help="write the files here, and leave them")
    args = parser.parse_args()
    disable_progress_bars()
    rows = make_rows(args.rows)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.keep or pathlib.Path(temporary)
        directory.mkdir(exist_ok=True)

        def dataset(kind, path, **options):
            return load_dataset(kind, data_files=str(path), split="train", cache_dir=f"{temporary}/cache", **options).to_list()

        for path, columns, read in cases(directory, rows, dataset):
            name = path.relative_to(directory)
            wrong = difference(read(path), roslin(path, columns), columns, ".csv" in path.name or ".tsv" in path.name)
            failed += wrong is not None
            print(f"{'ok' if wrong is None else 'DIFFERENT'}  {name}{'' if wrong is None else ': ' + wrong}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
