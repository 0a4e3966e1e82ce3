"""Compares Roslin's token ids with those of transformers: python3 token-ids.py [--strings 20000] [--seed 1] [--record].

Needs transformers 5 and a built dist/. Model directories of each kind are written, each is read by AutoTokenizer and by Roslin,
and random strings (of every script, with added tokens in odd places, white space, marks, emoji) must have the same ids, special
tokens included. Exits with 1 if something differs. With --record it first writes test/reference/tokenizer-*.json but for
tokenizer-cases.json, which the default tests read; `figures.py` beside this file has their cases.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# the script's own folder comes first in the path, and this file is named as the library
sys.path.pop(0)

from transformers import AutoTokenizer  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE))

from kinds import families, kinds, strings  # noqa: E402
from shapes import write  # noqa: E402


def roslin(*arguments: str) -> object:
    return json.loads(subprocess.run(["node", str(HERE / "token-ids.mjs"), *arguments], check=True, capture_output=True, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--strings", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    if args.record:
        import figures

        figures.record()
    texts = strings(args.strings, args.seed)
    failed = False
    with tempfile.TemporaryDirectory() as root:
        made = {**kinds(roslin("make")), **families()}
        directories = [write(pathlib.Path(root) / str(index), files) for index, files in enumerate(made.values())]
        listed = pathlib.Path(root) / "list.json"
        listed.write_text(json.dumps({"directories": [str(each) for each in directories], "texts": texts}))
        for name, directory, answer in zip(made, directories, roslin("encode", str(listed))):
            tokenizer = AutoTokenizer.from_pretrained(directory)
            expected = tokenizer(texts)["input_ids"]
            got = answer.get("ids", [])
            wrong = [text for text, ours, theirs in zip(texts, got, expected) if ours != theirs]
            named = [answer.get("bosToken"), answer.get("eosToken")] == [tokenizer.bos_token, tokenizer.eos_token]
            same = len(got) == len(texts) and not wrong and named
            failed |= not same
            print(f"{'same  ' if same else 'OTHER '} {name}: {len(texts)} texts, {sum(map(len, expected))} tokens")
            if not same:
                print(f"       {len(wrong)} differ; {answer.get('refused', '')} {ascii(wrong[:3])}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
