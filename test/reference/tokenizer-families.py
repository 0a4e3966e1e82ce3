"""Makes tokenizer-families.json: ids of Llama's, Mistral's, Pythia's and Qwen's kinds of tokenizers: python3 tokenizer-families.py, in this directory.

Made with transformers 5.24 and tokenizers 0.23. The small tokenizers are trained on README.md and docs/. Each case is a
model directory that says what it changes of its group's tokenizer.json; ids and texts are those of AutoTokenizer. "says" is
what Roslin answers where it refuses the directory; "note" is what it says where the ids are not the file's.
"""

import json
import os
import pathlib
import random
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "interop"))

from kinds import strings  # noqa: E402
from shapes import END, LLAMA3, QWEN2, byte_level, numbered, sequence, split, token, write  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

# the cases that have ids of random texts too
FUZZED = ["Llama 2 with more tokens", "the file as it is", "Metaspace, first, split", "Unigram, whole texts", "SmolLM2"]
ROOT = HERE.parents[1]
PROSE = [path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]]
TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "▁",
    "the first of them",
    " the first",
    "  the  first   of\tthem \n",
    "Hello, the World's 1234 things  and\n\nmore: 2024! x  12  ½٣ ² 7",
    "café Cafe\u0301 ﬁne Å ΣΑΣ",
    "</s>the</s> the<s>[INST] ask [/INST] say </s><s>[INST] again",
    f"one {END}  two <x> three<x>four  <x>  five a<x>b {END}{END}",
    "日本語 🙂 \u0085\ufeff\u00a0end\x00 ",
    "def f(x):\n    return x\n\n\n        # eight blanks",
    "the▁first ▁ of<0x0A>them<unk>",
    "\nBelow is an instruction.\n\n### Response:\nthe stage\n\n### End",
]


def fuzz() -> list[str]:
    """Random texts; fewer of every script than the vocabularies cover would only be bytes."""
    draw = random.Random(20)
    words = [word for prose in PROSE for word in prose.split()]
    special = ["<s>", "</s>", "<unk>", "<x>", "[INST]", END, "▁", "▁▁", "  ", "    ", "\n", "\n\n", "\t", " \n", "<0x0A>"]
    plain = ["".join(draw.choice(words) + draw.choice([" ", " ", " ", ", ", *special]) for _ in range(draw.randint(1, 9))) for _ in range(140)]
    return plain + strings(60, 20)


def numbers(tokens: list[str]) -> dict[str, int]:
    return {each: index for index, each in enumerate(tokens)}


def bos_template(content: str, id_: int) -> dict:
    first = {"SpecialToken": {"id": content, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {"type": "TemplateProcessing", "single": [first, text], "pair": [first, text, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {content: {"id": content, "ids": [id_], "tokens": [content]}}}


SPECIAL = [token(each, normalized=False, special=True) for each in ["<unk>", "<s>", "</s>"]]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
SPACES = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]


def llama2() -> dict:
    """As Llama 2's file: words of characters, bytes for the others, blanks are ▁, and runs of them have tokens."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    trained.train_from_iterator(PROSE, trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *BYTES], limit_alphabet=90, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    vocabulary = dict(model["vocab"])
    merges = [list(each) if not isinstance(each, str) else each.split(" ") for each in model["merges"]]
    for run in ["▁▁", "▁▁▁▁"]:
        merges.append([run[: len(run) // 2]] * 2)
        vocabulary[run] = len(vocabulary)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": numbered(SPECIAL, vocabulary),
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": bos_template("<s>", 1),
        "decoder": {"type": "Sequence", "decoders": [*SPACES, STRIP]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [" ".join(each) for each in merges],
        },
    }


def unigram() -> dict:
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    trained.train_from_iterator(PROSE, trainers.UnigramTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False))
    made = json.loads(trained.to_str())
    for each in made["model"]["vocab"]:
        each[1] = round(each[1], 4)
    made["post_processor"] = bos_template("<s>", 1)
    return made


def pythia() -> dict:
    """Byte-level BPE of which no merge joins digits, with tokens for runs of blanks, as Pythia has them."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(PROSE, trainers.BpeTrainer(vocab_size=600, special_tokens=[END, "<|padding|>"], initial_alphabet=alphabet, show_progress=False))
    made = json.loads(trained.to_str())
    model = made["model"]
    known = model["vocab"]
    made["added_tokens"] = numbered([token(END, special=True, normalized=False), token("<|padding|>", special=True, normalized=False), token("    "), token("  ")], known)
    return {**made, "normalizer": {"type": "NFC"}, "pre_tokenizer": byte_level(), "post_processor": byte_level(add_prefix_space=False), "decoder": byte_level(add_prefix_space=False)}


LLAMA = {"model_type": "llama"}


def named(**fields: object) -> dict:
    flagged = {"__type": "AddedToken", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    tokens = {f"{name}_token": {**flagged, "content": content} for name, content in {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}.items()}
    return {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "model_max_length": 2048, "sp_model_kwargs": {}, **tokens, **fields}


def metaspace(scheme: str, cuts: bool, **fields: object) -> dict:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cuts, **fields}


def sentencepiece_cases(base: dict) -> list[dict]:
    as_it_is = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    cases: list[dict] = []

    def case(name: str, config: dict | None, change: dict, model: dict = LLAMA, says: str | None = None, note: str | None = None, **files: object) -> None:
        given = {"config.json": model, **({"tokenizer_config.json": config} if config is not None else {}), "tokenizer.json": change, **files}
        cases.append({"name": name, "files": given, **({"says": says} if says else {}), **({"note": note} if note else {})})

    vocabulary = base["model"]["vocab"]
    merges = base["model"]["merges"]
    more = numbered([*SPECIAL, token("<x>", lstrip=True, rstrip=True), token("[INST]", normalized=False), token("[/INST]"), token("first", single_word=True)], vocabulary)
    decoder = {str(each["id"]): {key: value for key, value in each.items() if key != "id"} for each in more}
    rebuilt = "LlamaTokenizer"
    case("Llama 2", named(legacy=False), {}, note=rebuilt)
    case("Llama 2 with more tokens", named(legacy=False), {"added_tokens": more}, note=rebuilt)
    tiny = {"added_tokens_decoder": {str(index): SPECIAL[index] for index in range(3)}, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>", "padding_side": "right", "legacy": False, "tokenizer_class": "LlamaTokenizer", "use_default_system_prompt": False, "chat_template": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}"}
    case("TinyLlama", tiny, {}, note=rebuilt)
    case("TinyLlama with more tokens", {**tiny, "added_tokens_decoder": decoder}, {}, note=rebuilt)
    case("TinyLlama, a token of its file at another place", tiny, {"added_tokens": [*base["added_tokens"], {"id": 900, **token("<y>")}]}, note="could not be read")
    case("LlamaTokenizerFast, legacy", named(legacy=True, tokenizer_class="LlamaTokenizerFast"), {"added_tokens": more}, note=rebuilt)
    case("LlamaTokenizer without a word on legacy", named(), {}, note=rebuilt)
    case("LlamaTokenizer, legacy null, prefix space null", named(legacy=None, add_prefix_space=None), {}, note=rebuilt)
    case("LlamaTokenizer without a prefix space", named(add_prefix_space=False), {"added_tokens": more}, note=rebuilt)
    case("LlamaTokenizer over its own file", named(legacy=False), {"normalizer": None, "pre_tokenizer": metaspace("first", False), "in_model": {"unk_token": None}})
    case("LlamaTokenizer by config.json", None, {}, {**LLAMA, "tokenizer_class": "LlamaTokenizer"}, note=rebuilt)
    case("LlamaTokenizer, no post-processor", named(), {"post_processor": None}, note=rebuilt)
    padding = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<x>"}
    case("LlamaTokenizer, padding", named(legacy=False), {"padding": padding}, note=rebuilt)
    case("GPT2Tokenizer over characters", {"tokenizer_class": "GPT2Tokenizer"}, {}, says="class=GPT2Tokenizer")
    case("LlamaTokenizer over Unigram", named(), {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["▁", -1]], "byte_fallback": False}}, says="model.type")
    case("no class", None, {})
    case("the file as it is", as_it_is, {"added_tokens": more})
    case("the file as it is, special tokens are text", {**as_it_is, "split_special_tokens": True}, {"added_tokens": more})
    case("the file as it is, no post-processor", {**as_it_is, "add_bos_token": True}, {"post_processor": None})
    case("Mistral", named(legacy=True), {"added_tokens": more}, {"model_type": "mistral"})
    case("Mistral 0.3", named(legacy=False), {"normalizer": None, "pre_tokenizer": metaspace("first", False), "added_tokens": more}, {"model_type": "mistral"})
    for scheme in ["always", "first", "never"]:
        for cuts in [True, False]:
            case(f"Metaspace, {scheme}, {'split' if cuts else 'whole'}", as_it_is, {"normalizer": None, "pre_tokenizer": metaspace(scheme, cuts), "added_tokens": more, "decoder": metaspace(scheme, cuts)})
    case("Metaspace of an older file", as_it_is, {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}})
    case("blanks in place, after NFKC", as_it_is, {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, "added_tokens": more})
    case("a replacement that is longer", as_it_is, {"normalizer": {"type": "Replace", "pattern": {"String": "the"}, "content": "$&▁$1"}})
    case("Lowercase by itself", as_it_is, {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": metaspace("first", False)})
    crossing = {"vocab": {**vocabulary, "e▁": len(vocabulary), "s▁the": len(vocabulary) + 1}, "merges": ["e ▁", *merges, "s ▁the"]}
    case("merges over blanks", as_it_is, {"in_model": crossing})
    case("whole words", as_it_is, {"in_model": {"ignore_merges": True}, "pre_tokenizer": metaspace("always", True), "normalizer": None})
    case("unknown characters", as_it_is, {"in_model": {"byte_fallback": False}, "added_tokens": more})
    case("unknown characters one by one", as_it_is, {"in_model": {"byte_fallback": False, "fuse_unk": False}})
    case("a decoder that keeps the first blank", as_it_is, {"decoder": {"type": "Sequence", "decoders": SPACES}})
    holes = {key: value for key, value in vocabulary.items() if key != "<0x0A>"}
    case("a byte that is missing", as_it_is, {"in_model": {"vocab": holes}})
    # what is refused
    case("unknown characters without a token", as_it_is, {"in_model": {"byte_fallback": False, "unk_token": None}}, says="model.unk_token")
    case("a byte that LlamaTokenizer leaves out", named(), {"in_model": {"vocab": holes}}, says="<0x0A>")
    case("an unknown token that is missing", as_it_is, {"in_model": {"byte_fallback": False, "unk_token": "<none>"}}, says="model.unk_token")
    case("merges that are missing", as_it_is, {"model": {"type": "BPE", "vocab": vocabulary, "byte_fallback": True}}, says="model.merges")
    case("a merge without its token", as_it_is, {"in_model": {"merges": ["e nothing"]}}, says="token=nothing")
    case("two tokens with one id", as_it_is, {"in_model": {"vocab": {**vocabulary, "twice": 300}}}, says="model.vocab")
    case("a dropout", as_it_is, {"in_model": {"dropout": 0.1}}, says="model.dropout")
    case("a suffix", as_it_is, {"in_model": {"end_of_word_suffix": "</w>"}}, says="model.end_of_word_suffix")
    case("another model", as_it_is, {"model": {"type": "WordPiece", "vocab": vocabulary}}, says="model.type")
    for kind in ["Nmt", "Precompiled", "StripAccents"]:
        case(f"normalizer {kind}", as_it_is, {"normalizer": {"type": kind}}, says="normalizer.type")
    case("a normalizer by a regular expression", as_it_is, {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$" * 1000}, "content": ""}}, says="normalizer.pattern")
    for kind in ["Whitespace", "Punctuation", "UnicodeScripts", "Unheard"]:
        case(f"pre-tokenizer {kind}", as_it_is, {"pre_tokenizer": {"type": kind}}, says="pre_tokenizer.type")
    case("decoder Unheard", as_it_is, {"decoder": {"type": "Unheard"}}, says="decoder.type")
    case("decoder WordPiece", as_it_is, {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}, says="decoder.type")
    case("prefix space that the file contradicts", as_it_is, {"pre_tokenizer": {**metaspace("first", False), "add_prefix_space": False}}, says="pre_tokenizer.add_prefix_space")
    return cases


def unigram_cases(base: dict) -> list[dict]:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}

    def case(name: str, change: dict, says: str | None = None) -> dict:
        return {"name": name, "files": {"config.json": LLAMA, "tokenizer_config.json": config, "tokenizer.json": change}, **({"says": says} if says else {})}

    more = numbered([*SPECIAL, token("<x>", lstrip=True)], {each: index for index, (each, _) in enumerate(base["model"]["vocab"])})
    return [
        case("Unigram", {}),
        case("Unigram, whole texts", {"pre_tokenizer": metaspace("first", False), "added_tokens": more}),
        case("Unigram after NFKC", {"normalizer": {"type": "NFKC"}, "pre_tokenizer": metaspace("never", False)}),
        case("Unigram with bytes", {"in_model": {"byte_fallback": True}}, says="model.byte_fallback"),
        case("Unigram without an unknown token", {"in_model": {"unk_id": None}}, says="model.unk_id"),
        case("Unigram with a score that is none", {"in_model": {"vocab": [["<unk>", "x"]]}}, says="model.vocab"),
    ]


def byte_level_cases(base: dict) -> list[dict]:
    neox = {"model_type": "gpt_neox"}
    pythia_config = {"add_prefix_space": False, "bos_token": END, "eos_token": END, "unk_token": END, "name_or_path": "EleutherAI/gpt-neox-20b", "special_tokens_map_file": "x", "tokenizer_class": "GPTNeoXTokenizer"}
    cases: list[dict] = []

    def case(name: str, model: dict, config: dict | None, change: dict, says: str | None = None, note: str | None = None) -> None:
        given = {"config.json": model, **({"tokenizer_config.json": config} if config is not None else {}), "tokenizer.json": change}
        cases.append({"name": name, "files": given, **({"says": says} if says else {}), **({"note": note} if note else {})})

    known = base["model"]["vocab"]
    dolly = numbered([token(END, special=True, normalized=False), token("<|padding|>", special=True, normalized=False), token("  "), token("### End", special=True), token("### Instruction:", special=True), token("### Response:\n", special=True)], known)
    digits = {"type": "Digits", "individual_digits": True}
    blanks = {"added_tokens": dolly[:2], "in_model": {"vocab": {**known, "ĠĠ": len(known)}, "merges": [*base["model"]["merges"], ["Ġ", "Ġ"]]}}
    llama3 = {"normalizer": None, "pre_tokenizer": sequence(split(LLAMA3), byte_level(use_regex=False)), "post_processor": {"type": "Sequence", "processors": [byte_level(), bos_template(END, 0)]}, "in_model": {"ignore_merges": True}}
    qwen2 = {"pre_tokenizer": sequence(split(QWEN2), byte_level(use_regex=False))}
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    words = rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+END|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*END|NUMBER| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tekken = words.replace("END", "").replace("NUMBER", r"\p{N}")
    llama4 = words.replace("END", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?").replace("NUMBER", r"\p{N}{1,3}")

    def by(*patterns: str, **fields: object) -> dict:
        return {"normalizer": None, "pre_tokenizer": sequence(*({**split(pattern), **fields} for pattern in patterns), byte_level(use_regex=False)), "in_model": {"ignore_merges": True}}

    backend = {"tokenizer_class": "PreTrainedTokenizerFast"}
    case("Mistral's Tekken", LLAMA, backend, by(tekken))
    case("Llama 4", LLAMA, backend, by(llama4))
    case("several regular expressions", LLAMA, backend, by(r"\p{N}{1,3}", r"[一-龥ぁ-ゟ゠-ヿ]+", r"(?i:'s|'k|'ll)e?|(?:the|of)s?|[^a-z]+"))
    regex = "pre_tokenizer.pretokenizers.0.pattern.Regex"
    for name, pattern in {"nested": r"(a+)+", "of texts in either case": r"(?i:straße)", "huge": "a" * 5000, "possessive": "a++", "with a class of Oniguruma's": r"[[:alpha:]]+", "with an end of lines": r"\s+$", "without its end": "[a-z"}.items():
        case(f"a regular expression, {name}", LLAMA, backend, by(pattern), says=regex)
    case("a regular expression that removes", LLAMA, backend, by("x", behavior="Removed"), says="pre_tokenizer.pretokenizers.0.behavior")
    case("a regular expression, inverted", LLAMA, backend, by("x", invert=True), says="pre_tokenizer.pretokenizers.0.invert")
    case("Pythia", neox, pythia_config, {})
    case("Pythia with a template", neox, {**pythia_config, "add_bos_token": True}, {"post_processor": bos_template(END, 0)}, note="GPTNeoXTokenizer")
    case("Dolly 2", neox, pythia_config, {"added_tokens": dolly})
    case("GPT-NeoX's class over Digits", neox, pythia_config, {"pre_tokenizer": sequence(digits, byte_level()), **blanks}, note="GPTNeoXTokenizer")
    smol = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "bos_token": END, "eos_token": "<|padding|>", "unk_token": END, "vocab_size": 49152}
    case("SmolLM2", LLAMA, smol, {"normalizer": None, "pre_tokenizer": sequence(digits, byte_level()), **blanks}, note="GPT2Tokenizer")
    case("SmolLM2's file as it is", LLAMA, {**smol, "tokenizer_class": "PreTrainedTokenizerFast"}, {"normalizer": None, "pre_tokenizer": sequence(digits, byte_level())})
    joined = {"vocab": {**known, "12": len(known)}, "merges": [*base["model"]["merges"], ["1", "2"]]}
    case("Digits of which the vocabulary joins two", LLAMA, smol, {"normalizer": None, "pre_tokenizer": sequence(digits, byte_level()), "in_model": joined, "added_tokens": []}, says="pre_tokenizer")
    case("Llama 3", LLAMA, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": "<|padding|>"}, llama3)
    case("Llama 3 by LlamaTokenizer", LLAMA, {"tokenizer_class": "LlamaTokenizerFast", "bos_token": END}, llama3)
    case("Llama 3 without a class", LLAMA, None, llama3)
    case("Mistral with bytes, by GPT2Tokenizer", {"model_type": "mistral"}, {"tokenizer_class": "GPT2Tokenizer"}, llama3)
    case("Qwen 2", {"model_type": "qwen2"}, {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False}, qwen2)
    case("Qwen 2 by another class", {"model_type": "qwen2"}, {"tokenizer_class": "PreTrainedTokenizerFast"}, qwen2)
    case("Qwen 2 over Llama 3's split", {"model_type": "qwen2"}, {"tokenizer_class": "PreTrainedTokenizerFast"}, llama3, says="whatever its files name")
    case("Qwen 3", {"model_type": "qwen3"}, {"tokenizer_class": "Qwen2Tokenizer"}, qwen2)
    return cases


def applied(tokenizer: dict, change: dict) -> dict:
    whole = {**tokenizer, **{key: value for key, value in change.items() if key != "in_model"}}
    return {**whole, "model": {**whole["model"], **change.get("in_model", {})}}


def record(tokenizer: dict, cases: list[dict], texts: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as root:
        for index, each in enumerate(cases):
            files = {name: applied(tokenizer, content) if name == "tokenizer.json" else content for name, content in each["files"].items()}
            if "says" in each:
                each["ids"] = None
                continue
            read = AutoTokenizer.from_pretrained(write(pathlib.Path(root) / str(index), files))
            ids = read(texts if each["name"] in FUZZED else TEXTS)["input_ids"]
            each["ids"] = "|".join(" ".join(map(str, some)) for some in ids)
            # what stands for bytes that are no text is not the same everywhere
            each["decoded"] = [read.decode(some, clean_up_tokenization_spaces=False) for some in ids[: len(TEXTS)]]
            chat = read.chat_template
            each.update(bosToken=read.bos_token, eosToken=read.eos_token, chatTemplate=chat)
    return {"texts": texts, "tokenizer": tokenizer, "cases": cases}


CHAT = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}\n"
    "{% else %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
HEAD = "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n{}### Response:"


def prompted(tokenizer: dict) -> dict:
    """Rows in Alpaca's, Dolly's and a chat's prompt, their tokens by transformers, and which carry loss by the tokens' places in the text."""
    draw = random.Random(3)
    words = [word for prose in PROSE for word in prose.split() if word.isalnum()]

    def some() -> str:
        more = "".join(draw.choice([" ", " ", ", ", "  ", "\n", "\n\n", " 12 ", " <x> "]) + draw.choice([*words, "日本", "🙂", "é"]) for _ in range(draw.randint(0, 9)))
        return draw.choice(words) + more

    rows = [{"instruction": some(), "input": some() if index % 3 == 0 else "", "output": some()} for index in range(20)]
    chats = [[{"role": role, "content": some()} for role in ["system", "user", "assistant", "user", "assistant"][index % 2 : 3 + 2 * (index % 2)]] for index in range(10)]
    made = {}
    with tempfile.TemporaryDirectory() as root:
        config = {**named(legacy=False), "chat_template": CHAT.replace("{% generation %}", "").replace("{% endgeneration %}", "")}
        read = AutoTokenizer.from_pretrained(write(pathlib.Path(root) / "m", {"config.json": LLAMA, "tokenizer_config.json": config, "tokenizer.json": tokenizer}))

    def row(text: str, scored: list[tuple[int, int]], around: bool, ends: list[int]) -> dict[str, str]:
        one = read(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = one["input_ids"]
        masks = [any(first < end and last > start for start, end in scored) for first, last in one["offset_mapping"]]
        before = [1] if around else []
        labels = [-100] * len(before) + [token if mask else -100 for token, mask in zip(ids, masks)] + ends
        return {"input_ids": " ".join(map(str, [*before, *ids, *ends])), "labels": " ".join(map(str, labels))}

    for prompt, between, end, ends in [("alpaca", "", "", [2]), ("dolly", "\n", "\n\n### End", [])]:
        made[prompt] = []
        for each in rows:
            asked = HEAD.format(*((", paired with an input that provides further context", each["instruction"], f"### Input:\n{each['input']}\n\n") if each["input"] else ("", each["instruction"], ""))) + between
            text = asked + each["output"] + end
            made[prompt].append(row(text, [(len(asked), len(text))], True, ends))
    made["chat"] = []
    for messages in chats:
        text = read.apply_chat_template(messages, tokenize=False)
        scored, at = [], 0
        for message in messages:
            if message["role"] == "assistant":
                start = text.index("<|assistant|>\n", at) + len("<|assistant|>\n")
                at = start + len(message["content"] + "</s>")
                scored.append((start, at))
        made["chat"].append(row(text, scored, False, []))
    return {"config": config, "rows": rows, "chats": chats, "made": made}


def main() -> None:
    texts = [*TEXTS, *fuzz()]
    groups = []
    for made, cases in [(llama2(), sentencepiece_cases), (unigram(), unigram_cases), (pythia(), byte_level_cases)]:
        groups.append(record(made, cases(made), texts))
    groups[0]["prompted"] = prompted(groups[0]["tokenizer"])
    (HERE / "tokenizer-families.json").write_text(json.dumps(groups, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
