"""Model directories of each kind of tokenizer, and random texts for them: see token-ids.py."""

import json
import pathlib
import random

from shapes import AS_IT_IS, CONFIG, END, GPT2, LLAMA3, QWEN2, byte_level, numbered, sequence, split, token

FLAGGED = [
    token(END, special=True),
    token("<|plain|>", normalized=False),
    token("<|plain|><|end|>", normalized=False),
    token("<l>", lstrip=True, normalized=False),
    token("<r>", rstrip=True, normalized=False),
    token("<b>", lstrip=True, rstrip=True),
    token("word", single_word=True),
    token("wo", single_word=True, normalized=False),
    token("Ünï", normalized=True),
    token("Café Noir", normalized=False),
    token(" spaced ", normalized=False),
    token("\n\n\n", normalized=True),
    token("<s>", lstrip=True, rstrip=True, single_word=True, special=True, normalized=False),
]


def kinds(gpt2: dict) -> dict[str, dict]:
    """The files of each kind of directory."""
    size = len(gpt2["model"]["vocab"])

    def as_it_is(**changes: object) -> dict:
        return {"config.json": CONFIG, "tokenizer_config.json": AS_IT_IS, "tokenizer.json": {**gpt2, **changes}}

    def rebuilt(config: dict, **changes: object) -> dict:
        return {"config.json": CONFIG, "tokenizer_config.json": config, "tokenizer.json": {**gpt2, **changes}}

    def normalizer(*names: str) -> dict:
        return {"type": "Sequence", "normalizers": [{"type": name} for name in names]}

    flagged = numbered(FLAGGED, gpt2["model"]["vocab"])
    merges = [each if isinstance(each, str) else " ".join(each) for each in gpt2["model"]["merges"]]
    vocabulary = {
        "config.json": CONFIG,
        "vocab.json": gpt2["model"]["vocab"],
        "merges.txt": "#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges),
        "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": True},
        "added_tokens.json": {"<|plain|>": size, "<l>": size + 1, **({"word": gpt2["model"]["vocab"]["word"]} if "word" in gpt2["model"]["vocab"] else {})},
        "special_tokens_map.json": {"bos_token": {**token("<|plain|>", lstrip=True)}, "eos_token": END, "pad_token": "<pad>"},
    }
    del vocabulary["special_tokens_map.json"]["bos_token"]["special"]
    return {
        "GPT-J": {"config.json": CONFIG, "tokenizer.json": gpt2},
        "GPT-J as it is published": {
            "config.json": {**CONFIG, "tokenizer_class": "GPT2Tokenizer"},
            "tokenizer.json": {**gpt2, "added_tokens": numbered([token(END, special=True), *(token(f"<|extratoken_{index}|>") for index in range(1, 144))], gpt2["model"]["vocab"])},
            "vocab.json": gpt2["model"]["vocab"],
            "merges.txt": "not looked at",
            "added_tokens.json": {f"<|extratoken_{index}|>": size + index - (END in gpt2["model"]["vocab"]) for index in range(1, 144)},
            "special_tokens_map.json": {name: {key: value for key, value in token(END).items() if key != "special"} for name in ["bos_token", "eos_token", "unk_token"]},
            "tokenizer_config.json": {
                **{name: {"__type": "AddedToken", **{key: value for key, value in token(END).items() if key != "special"}} for name in ["bos_token", "eos_token", "unk_token"]},
                "add_prefix_space": False,
                "model_max_length": 2048,
                "special_tokens_map_file": None,
                "name_or_path": "gpt2",
                "errors": "replace",
                "tokenizer_class": "GPT2Tokenizer",
                "from_slow": True,
            },
        },
        "prefix space by tokenizer_config.json": rebuilt({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}),
        "prefix space by tokenizer.json": as_it_is(pre_tokenizer=byte_level(add_prefix_space=True)),
        "NFC and lower case": as_it_is(normalizer=normalizer("NFC", "Lowercase")),
        "NFKC": as_it_is(normalizer={"type": "NFKC"}),
        "NFD": as_it_is(normalizer={"type": "NFD"}),
        "lower case and NFKD": as_it_is(normalizer=normalizer("Lowercase", "NFKD")),
        "added tokens of all flags": as_it_is(added_tokens=flagged),
        "added tokens of all flags, normalized": as_it_is(added_tokens=flagged, normalizer=normalizer("NFC", "Lowercase")),
        "added tokens of all flags, prefix space": as_it_is(added_tokens=flagged, pre_tokenizer=byte_level(add_prefix_space=True)),
        "special tokens are text": {
            **as_it_is(added_tokens=flagged),
            "tokenizer_config.json": {**AS_IT_IS, "split_special_tokens": True},
        },
        "added tokens by tokenizer_config.json": rebuilt(
            {
                "tokenizer_class": "GPT2TokenizerFast",
                "added_tokens_decoder": {str(each["id"]): {key: value for key, value in each.items() if key != "id"} for each in flagged},
                "bos_token": END,
                "additional_special_tokens": ["<|plain|>", "<new>"],
                "image_token": "<image>",
            }
        ),
        "vocab.json and merges.txt with BOS": vocabulary,
        "vocab.json and merges.txt alone": {key: vocabulary[key] for key in ["config.json", "vocab.json", "merges.txt"]},
        "Llama 3's split": as_it_is(
            pre_tokenizer=sequence(split(LLAMA3), byte_level(use_regex=False)), model={**gpt2["model"], "ignore_merges": True}
        ),
        "Qwen 2's split": {
            "config.json": CONFIG,
            "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"},
            "tokenizer.json": {
                **gpt2,
                "normalizer": {"type": "NFC"},
                "pre_tokenizer": sequence(split(QWEN2), byte_level(use_regex=False)),
            },
        },
        "GPT-2's split and a second one": as_it_is(pre_tokenizer=sequence(split(GPT2), split(LLAMA3), byte_level(add_prefix_space=True))),
        "single digits": as_it_is(pre_tokenizer=sequence({"type": "Digits", "individual_digits": True}, byte_level())),
        "runs of digits": as_it_is(pre_tokenizer=sequence({"type": "Digits", "individual_digits": False}, byte_level(use_regex=False))),
        "no split": as_it_is(pre_tokenizer=byte_level(use_regex=False)),
        "GPT-NeoX": rebuilt({"tokenizer_class": "GPTNeoXTokenizer"}, normalizer={"type": "NFC"}),
    }


# kinds of tokenizer-families.json that random strings are compared for
FAMILIES = ["Llama 2 with more tokens", "LlamaTokenizerFast, legacy", "the file as it is", "Mistral 0.3", "Metaspace, first, split", "Unigram", "SmolLM2", "Mistral's Tekken", "Llama 4"]


def families() -> dict[str, dict]:
    """The files of each kind that test/reference/tokenizer-families.py made."""
    reference = pathlib.Path(__file__).resolve().parents[1] / "reference" / "tokenizer-families.json"
    found = {}
    for group in json.loads(reference.read_text(encoding="utf-8")):
        for case in group["cases"]:
            if case["name"] in FAMILIES:
                change = case["files"]["tokenizer.json"]
                whole = {**group["tokenizer"], **{key: value for key, value in change.items() if key != "in_model"}}
                whole["model"] = {**whole["model"], **change.get("in_model", {})}
                found[case["name"]] = {**case["files"], "tokenizer.json": whole}
    return found


def strings(count: int, seed: int) -> list[str]:
    """Random texts: words of many scripts, marks, spaces, digits, and added tokens in odd places."""
    draw = random.Random(seed)
    every = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    spaces = [" ", "  ", "\n", "\r\n", "\t", "\u0085", "\u00a0", "\u2009", "\u3000", "\ufeff", "\u200b", "\n\n\n", "\x1c", " \n "]
    marks = [chr(point) for point in [0x300, 0x301, 0x308, 0x323, 0x334, 0x345, 0x94D, 0x3099, 0x1AC0, 0x1DFA, 0x11935, 0xFE0F, 0x200D]]
    words = "Below is an instruction word wordy swords I'll DON'T we've it's 'S 'ſ 'LL café CAFÉ Noir Ünï ünï ΣΑΣ İstanbul ǅ ﬁ ẛ̣ 東京 한국어 Привет مرحبا 12 3456 ½ ² ٣٤ 𝟙𝟚 🙂 👩‍👩‍👧 𝒳 A̴ #!? ... --- // snake_case <|x|>".split()
    tokens = [each["content"] for each in FLAGGED] + ["<new>", "<image>", "<pad>", "<|extratoken_7|>", "<|padding|>", "ÜNÏ", "café noir", "Word"]
    blocks = [range(0x20, 0x7F), range(0xA0, 0x250), range(0x370, 0x600), range(0x900, 0xE00), range(0x1E00, 0x2100), range(0x2C00, 0x3200), range(0xAC00, 0xAD00), range(0x10400, 0x10500), range(0x1F600, 0x1F650), every]
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 14)):
            kind = draw.random()
            if kind < 0.3:
                parts.append(draw.choice(words))
            elif kind < 0.5:
                parts.append(draw.choice(spaces))
            elif kind < 0.65:
                parts.append(draw.choice(tokens))
            elif kind < 0.75:
                parts.append(draw.choice(marks))
            else:
                block = draw.choice(blocks)
                parts += [chr(draw.choice(block)) for _ in range(draw.randint(1, 4))]
        texts.append("".join(parts))
    return texts
