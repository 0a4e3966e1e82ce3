"""What token-ids.py and figures.py make model directories of."""

import json
import pathlib

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END = "<|endoftext|>"
CONFIG = {"model_type": "gptj"}
AS_IT_IS = {"tokenizer_class": "PreTrainedTokenizerFast"}


def write(directory: pathlib.Path, files: dict) -> pathlib.Path:
    """Writes a model's files: an object as JSON, a text as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (directory / name).write_text(text, encoding="utf-8", newline="")
    return directory


def token(content: str, **flags: bool) -> dict:
    """An added token of a tokenizer.json, but for its id."""
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False, **flags}


def numbered(tokens: list[dict], vocabulary: dict[str, int]) -> list[dict]:
    """With their ids: the vocabulary's, or else the next after it."""
    new = iter(range(len(vocabulary), 1 << 30))
    return [{"id": vocabulary[each["content"]] if each["content"] in vocabulary else next(new), **each} for each in tokens]


def sequence(*steps: dict) -> dict:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def byte_level(**fields: bool) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **fields}


def split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
