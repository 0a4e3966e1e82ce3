"""The cases of test/reference/tokenizer-fields.json and tokenizer-directories.json, with transformers' ids: see token-ids.py."""

import json
import pathlib
import tempfile

from transformers import AutoTokenizer

import tokenizers as library
from kinds import kinds, strings
from shapes import AS_IT_IS, CONFIG, END, GPT2, LLAMA3, QWEN2, byte_level, numbered, sequence, split, token, write

REFERENCE = pathlib.Path(__file__).resolve().parents[1] / "reference"
TEXTS = [
    "",
    " ",
    "the first of them",
    "Hello, the World's 1234 things  and\n\nmore: 2024!",
    "café Cafe\u0301 ﬁne Å \u1e9b\u0323 ΣΑΣ",
    "I'LL don'T we've 'S\r\n\r\n\tx = 12345;",
    f"one {END}  two <x> three<x>four  <x>  five a<x>b {END}{END}",
    "日本語 🙂 \u0085\ufeff\u00a0end ",
]


def base() -> dict:
    """A small byte-level BPE: every byte and some merges, also over the ends of words."""
    trained = library.Tokenizer(library.models.BPE())
    trained.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(vocab_size=406, special_tokens=[], initial_alphabet=alphabet, show_progress=False)
    words = "the first of them Hello, the World things and more: Cafe don't we've I'LL one two three four five 1234 2024 12345 other end"
    each = words.split()
    trained.train_from_iterator([f"{left} {right}" for left in each for right in each] + [words] * 3, trainer)
    trained.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.add_special_tokens([END])
    json_ = json.loads(trained.to_str())
    json_["post_processor"] = byte_level(add_prefix_space=True, trim_offsets=False)
    return json_


def ids_of(files: dict, texts: list[str] = TEXTS) -> tuple[list[list[int]], object]:
    with tempfile.TemporaryDirectory() as root:
        read = AutoTokenizer.from_pretrained(write(pathlib.Path(root) / "m", files))
        return read(texts)["input_ids"], read


def field_cases(tokenizer: dict) -> list[dict]:
    """For each field of each component two tokenizers that differ in it alone, and so that it would matter if it could."""
    model, size = tokenizer["model"], len(tokenizer["model"]["vocab"])
    end = tokenizer["added_tokens"]
    cases: list[dict] = []

    def case(name: str, before: dict, after: dict, says: str | None = None) -> None:
        cases.append({"name": name, "before": before, "after": after, **({"says": says} if says else {})})

    def added(*tokens: dict) -> dict:
        return {"added_tokens": end + numbered(list(tokens), {**model["vocab"], END: size})}

    # the file's own fields
    case("version", {}, {"version": "1.0"})
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    case("truncation", {"truncation": None}, {"truncation": truncation})
    case("padding", {"padding": None}, {"padding": padding})
    case("added_tokens", {}, added(token("<x>", normalized=False)))
    case("normalizer", {"normalizer": None}, {"normalizer": {"type": "NFC"}})
    case("pre_tokenizer", {}, {"pre_tokenizer": byte_level(use_regex=False)})
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "E", "type_id": 1}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"B": {"id": "B", "ids": [5, 6], "tokens": ["x", "y"]}, "E": {"id": "E", "ids": [size], "tokens": [END]}},
    }
    case("post_processor", {}, {"post_processor": template})
    case("decoder", {}, {"decoder": None})
    case("model", {}, {"model": {**model, "merges": model["merges"][:20]}})

    # added tokens
    case("added_tokens.id", added(token("<x>")), {"added_tokens": end + [{"id": size + 9, **token("<x>")}]}, says="added_tokens.1.id")
    case("added_tokens.content", added(token("<x>")), added(token("three")))
    case("added_tokens.single_word", added(token("<x>")), added(token("<x>", single_word=True)))
    case("added_tokens.lstrip", added(token("<x>")), added(token("<x>", lstrip=True)))
    case("added_tokens.rstrip", added(token("<x>")), added(token("<x>", rstrip=True)))
    lower = {"normalizer": {"type": "Lowercase"}}
    case("added_tokens.normalized", {**lower, **added(token("world", normalized=False))}, {**lower, **added(token("world", normalized=True))})
    case("added_tokens.special", added(token("<x>")), added(token("<x>", special=True)))

    # normalizers
    for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"]:
        case(f"normalizer.{name}.type", {"normalizer": None}, {"normalizer": {"type": name}})
    both = [{"type": "NFKD"}, {"type": "Lowercase"}]
    case("normalizer.Sequence.type", {"normalizer": None}, {"normalizer": {"type": "Sequence", "normalizers": both}})
    case(
        "normalizer.Sequence.normalizers",
        {"normalizer": {"type": "Sequence", "normalizers": both[:1]}},
        {"normalizer": {"type": "Sequence", "normalizers": both}},
    )
    bert = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    for name, fields in {
        "BertNormalizer": bert,
        "Strip": {"strip_left": True, "strip_right": True},
        "StripAccents": {},
        "Nmt": {},
        "Precompiled": {"precompiled_charsmap": ""},
        "Replace": {"pattern": {"String": "the"}, "content": "a"},
        "Prepend": {"prepend": "_"},
        "ByteLevel": {},
    }.items():
        case(f"normalizer.{name}", {"normalizer": None}, {"normalizer": {"type": name, **fields}}, says="normalizer.type")

    # pre-tokenizers
    before = {"pre_tokenizer": byte_level()}
    case("pre_tokenizer.ByteLevel.type", {"pre_tokenizer": byte_level(use_regex=False)}, before)
    case("pre_tokenizer.ByteLevel.add_prefix_space", before, {"pre_tokenizer": byte_level(add_prefix_space=True)})
    case("pre_tokenizer.ByteLevel.trim_offsets", before, {"pre_tokenizer": byte_level(trim_offsets=False)})
    case("pre_tokenizer.ByteLevel.use_regex", before, {"pre_tokenizer": byte_level(use_regex=False)})
    whole = byte_level(use_regex=False)

    def steps(*more: dict) -> dict:
        return {"pre_tokenizer": sequence(*more, whole)}

    case("pre_tokenizer.Sequence.type", {"pre_tokenizer": whole}, steps(split(GPT2)))
    case("pre_tokenizer.Sequence.pretokenizers", steps(split(GPT2)), steps(split(LLAMA3)))
    digits = {"type": "Digits", "individual_digits": False}
    case("pre_tokenizer.Digits.type", steps(), steps({**digits, "individual_digits": True}))
    case("pre_tokenizer.Digits.individual_digits", steps(digits), steps({**digits, "individual_digits": True}))
    case("pre_tokenizer.Split.type", steps(), steps(split(GPT2)))
    case("pre_tokenizer.Split.pattern", steps(split(LLAMA3)), steps(split(QWEN2)))
    case("pre_tokenizer.Split.pattern.Regex", steps(split(LLAMA3)), steps(split("[a-z]")), says="pre_tokenizer.pretokenizers.0.pattern.Regex")
    case("pre_tokenizer.Split.pattern.String", steps(split(LLAMA3)), steps({**split(""), "pattern": {"String": " "}}), says="pre_tokenizer.pretokenizers.0.pattern")
    for behavior in ["Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        case("pre_tokenizer.Split.behavior", steps(split(LLAMA3)), steps({**split(LLAMA3), "behavior": behavior}), says="pre_tokenizer.pretokenizers.0.behavior")
    case("pre_tokenizer.Split.invert", steps(split(LLAMA3)), steps({**split(LLAMA3), "invert": True}))
    case("pre_tokenizer.Split.invert", steps(split(LLAMA3)), steps({**split(LLAMA3), "behavior": "Removed", "invert": True}))
    for name, fields in {
        "BertPreTokenizer": {},
        "CharDelimiterSplit": {"delimiter": "e"},
        "Metaspace": {"replacement": "_", "prepend_scheme": "always", "split": True},
        "Whitespace": {},
        "Punctuation": {"behavior": "Isolated"},
        "WhitespaceSplit": {},
        "UnicodeScripts": {},
        "FixedLength": {"length": 3},
    }.items():
        case(f"pre_tokenizer.{name}", steps(), steps({"type": name, **fields}), says="pre_tokenizer.pretokenizers.0.type")
        case(f"pre_tokenizer.{name}", before, {"pre_tokenizer": {"type": name, **fields}}, says="pre_tokenizer.type")
    case("pre_tokenizer", before, {"pre_tokenizer": None}, says="pre_tokenizer")

    # post-processors
    def post(processor: dict | None) -> dict:
        return {"post_processor": processor}

    plain = byte_level()
    case("post_processor.ByteLevel.type", post(None), post(plain))
    for field in ["add_prefix_space", "trim_offsets", "use_regex"]:
        case(f"post_processor.ByteLevel.{field}", post(plain), post({**plain, field: not plain[field]}))
    bert_post = {"type": "BertProcessing", "sep": [END, size], "cls": ["!", 0]}
    case("post_processor.BertProcessing.type", post(None), post(bert_post))
    case("post_processor.BertProcessing.sep", post(bert_post), post({**bert_post, "sep": ["#", 2]}))
    case("post_processor.BertProcessing.cls", post(bert_post), post({**bert_post, "cls": ["#", 2]}))
    roberta = {**bert_post, "type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False}
    case("post_processor.RobertaProcessing.type", post(None), post(roberta))
    for field, value in {"sep": ["#", 2], "cls": ["#", 2], "trim_offsets": False, "add_prefix_space": True}.items():
        case(f"post_processor.RobertaProcessing.{field}", post(roberta), post({**roberta, field: value}))
    case("post_processor.TemplateProcessing.type", post(None), post(template))
    case("post_processor.TemplateProcessing.single", post(template), post({**template, "single": template["single"][1:]}))
    case("post_processor.TemplateProcessing.pair", post(template), post({**template, "pair": template["pair"][::-1]}))
    other = {**template["special_tokens"], "B": {"id": "B", "ids": [7], "tokens": ["z"]}}
    case("post_processor.TemplateProcessing.special_tokens", post(template), post({**template, "special_tokens": other}))
    twice = {**template, "single": template["single"] + [{"Sequence": {"id": "A", "type_id": 0}}]}
    case("post_processor.TemplateProcessing.single", post(template), post(twice), says="post_processor.single")
    processors = {"type": "Sequence", "processors": [plain, template]}
    case("post_processor.Sequence.type", post(None), post(processors))
    case("post_processor.Sequence.processors", post(processors), post({"type": "Sequence", "processors": [plain]}))

    # decoders: ids don't follow them, but what generation says does
    for field in ["type", "add_prefix_space", "trim_offsets", "use_regex"]:
        change = {} if field == "type" else {field: not plain[field]}
        case(f"decoder.ByteLevel.{field}", {"decoder": plain}, {"decoder": {**plain, **change}})
    for name, fields in {
        "BPEDecoder": {"suffix": "</w>"},
        "WordPiece": {"prefix": "##", "cleanup": True},
        "Metaspace": {"replacement": "_", "prepend_scheme": "always", "split": True},
        "CTC": {"pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
        "Sequence": {"decoders": [plain]},
        "Replace": {"pattern": {"String": "the"}, "content": "a"},
        "Fuse": {},
        "Strip": {"content": "_", "start": 1, "stop": 0},
        "ByteFallback": {},
    }.items():
        case(f"decoder.{name}", {}, {"decoder": {"type": name, **fields}}, says="decoder.type")

    # the model: each side says what it changes of the base's
    def bpe(**changes: object) -> dict:
        return {"in_model": changes}

    case("model.BPE.type", bpe(), {"model": {key: value for key, value in model.items() if key != "type"}})
    case("model.BPE.vocab", bpe(), bpe(vocab={key: {10: 11, 11: 10}.get(value, value) for key, value in model["vocab"].items()}))
    case("model.BPE.merges", bpe(), bpe(merges=model["merges"][:20]))
    case("model.BPE.dropout", bpe(dropout=None), bpe(dropout=1.0), says="model.dropout")
    # without the symbols of bytes from 0x80 to 0xa0, which other tokens stand in for
    rare = [chr(symbol) for symbol in range(0x122, 0x143)]
    names = ["<unk>", "<0xC4>", *(f"<0x{byte:02X}>" for byte in range(0xA2, 0xC0)), "<fill>"]
    lacking = {dict(zip(rare, names)).get(key, key): value for key, value in model["vocab"].items()}
    case("model.BPE.unk_token", bpe(vocab=lacking), bpe(vocab=lacking, unk_token="<unk>"))
    case("model.BPE.unk_token", bpe(), bpe(unk_token="<nowhere>"))
    unknown = {"vocab": lacking, "unk_token": "<unk>"}
    case("model.BPE.fuse_unk", bpe(**unknown, fuse_unk=False), bpe(**unknown, fuse_unk=True), says="model.fuse_unk")
    case("model.BPE.fuse_unk", bpe(fuse_unk=False), bpe(fuse_unk=True))
    prefix = "continuing_subword_prefix"
    case(f"model.BPE.{prefix}", bpe(merges=[]), bpe(merges=[], **{prefix: "##"}), says=f"model.{prefix}")
    case("model.BPE.end_of_word_suffix", bpe(), bpe(end_of_word_suffix="</w>"), says="model.end_of_word_suffix")
    case("model.BPE.byte_fallback", bpe(vocab=lacking), bpe(vocab=lacking, byte_fallback=True), says="model.byte_fallback")
    case("model.BPE.ignore_merges", bpe(merges=model["merges"][:20]), bpe(merges=model["merges"][:20], ignore_merges=True))
    words = {"unk_token": "!", "vocab": {"!": 0, "the": 1}}
    for name, fields in {
        "WordPiece": {**words, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
        "WordLevel": words,
        "Unigram": {"unk_id": 0, "vocab": [["!", -1.0], ["the", -2.0]], "byte_fallback": False},
    }.items():
        case(f"model.{name}", bpe(), {"model": {"type": name, **fields}}, says="model.type")
    return cases


def applied(tokenizer: dict, change: dict) -> dict:
    whole = {**tokenizer, **{key: value for key, value in change.items() if key != "in_model"}}
    return {**whole, "model": {**whole["model"], **change.get("in_model", {})}}


def compact(ids: list[list[int]]) -> str:
    return "|".join(" ".join(map(str, some)) for some in ids)


def fields() -> dict:
    tokenizer = base()
    cases = []
    for each in field_cases(tokenizer):
        row = dict(each)
        for side in ["before", "after"]:
            files = {"config.json": CONFIG, "tokenizer_config.json": AS_IT_IS, "tokenizer.json": applied(tokenizer, each[side])}
            try:
                # its table would have to be made first
                row[f"{side}Ids"] = None if each["name"] == "normalizer.Precompiled" and side == "after" else compact(ids_of(files)[0])
            except Exception as error:
                row[f"{side}Ids"] = None
                print(f"{each['name']}, {side}: transformers says {str(error)[:120]}")
        cases.append(row)
    return {"about": "ids by transformers' AutoTokenizer; see test/interop/figures.py", "texts": TEXTS, "tokenizer": tokenizer, "cases": cases}


def directory_cases(tokenizer: dict) -> list[dict]:
    """Directories by what transformers makes of their files, and what Roslin says where it refuses one. "tokenizer" stands for the base."""
    model, size = tokenizer["model"], len(tokenizer["model"]["vocab"])
    cases: list[dict] = []

    def case(name: str, files: dict, says: str | None = None) -> None:
        cases.append({"name": name, "files": {"config.json": CONFIG, **files}, **({"says": says} if says else {})})

    def config(tokenizer_class: str | None = "GPT2Tokenizer", **fields: object) -> dict:
        return {"tokenizer_config.json": {**({"tokenizer_class": tokenizer_class} if tokenizer_class else {}), **fields}}

    def file(**changes: object) -> dict:
        return {"tokenizer.json": {"base": True, **changes}}

    plain = file()
    prefixed = file(pre_tokenizer=byte_level(add_prefix_space=True))
    nfc = {"normalizer": {"type": "NFC"}}
    bos_template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": END, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {END: {"id": END, "ids": [size], "tokens": [END]}},
    }
    case("tokenizer.json alone", plain)
    case("tokenizer.json alone, of a family that transformers doesn't know", {**plain, "config.json": {"model_type": "gptj", "tokenizer_class": "PreTrainedTokenizerFast"}})
    for name in ["GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "BloomTokenizerFast"]:
        case(f"class {name}", {**plain, **config(name)})
        case(f"class {name}, prefix space by tokenizer_config.json", {**plain, **config(name, add_prefix_space=True)})
        if name.startswith(("GPT2", "Code")):
            case(f"class {name}, prefix space by tokenizer.json", {**prefixed, **config(name)}, says="pre_tokenizer.add_prefix_space")
            case(f"class {name}, normalizer", {**file(**nfc), **config(name)}, says="normalizer")
        else:
            case(f"class {name}, prefix space by tokenizer.json", {**prefixed, **config(name)})
            case(f"class {name}, normalizer", {**file(**nfc), **config(name)})
    case("LlamaTokenizer over byte-level BPE", {**prefixed, **config("LlamaTokenizerFast")})
    case("prefix space taken back by tokenizer_config.json", {**prefixed, **config(add_prefix_space=False)})
    case("prefix space that is no flag", {**plain, **config(add_prefix_space="yes")}, says="add_prefix_space")
    case("no class, prefix space", {**plain, **config(None, add_prefix_space=True)})
    case("class by config.json", {**file(**nfc), "config.json": {**CONFIG, "tokenizer_class": "PreTrainedTokenizerFast"}})
    case("tokenizer_config.json before config.json", {**plain, **config("GPT2Tokenizer", add_prefix_space=True), "config.json": {**CONFIG, "tokenizer_class": "PreTrainedTokenizerFast"}})
    for name in ["RobertaTokenizer", "WhisperTokenizer", "DebertaTokenizer", "CLIPTokenizer", "T5Tokenizer", "BertTokenizerFast"]:
        case(f"class {name}", {**plain, **config(name)}, says="tokenizer_class")
    case("GPTNeoXTokenizer without NFC", {**plain, **config("GPTNeoXTokenizer")}, says="normalizer")
    case("GPTNeoXTokenizer with NFC", {**file(**nfc), **config("GPTNeoXTokenizer", add_prefix_space=True)})
    digits = sequence({"type": "Digits", "individual_digits": True}, byte_level())
    case("GPTNeoXTokenizer with Digits", {**file(**nfc, pre_tokenizer=digits), **config("GPTNeoXTokenizer")}, says="pre_tokenizer")
    qwen = sequence(split(QWEN2), byte_level(use_regex=False))
    case("Qwen2Tokenizer", {**file(**nfc, pre_tokenizer=qwen), **config("Qwen2Tokenizer", add_prefix_space=None)})
    case("Qwen2Tokenizer over Llama 3's split", {**file(**nfc, pre_tokenizer=sequence(split(LLAMA3), byte_level(use_regex=False))), **config("Qwen2Tokenizer")}, says="pre_tokenizer")
    case("GPT2Tokenizer that would merge", {**file(in_model={"ignore_merges": True, "merges": model["merges"][:20]}), **config()}, says="model.ignore_merges")

    # special tokens around a text
    case("BOS by the file's template", {**file(post_processor=bos_template), **config(add_bos_token=False)})
    case("BOS by the file's template, in a file as it is", {**file(post_processor=bos_template), **config("PreTrainedTokenizerFast", add_eos_token=True)})
    case("add_bos_token beside tokenizer.json", {**plain, **config(add_bos_token=True, add_eos_token=True)})
    case("add_bos_token beside tokenizer.json without a post-processor", {**file(post_processor=None), **config(add_bos_token=True)})

    # added tokens
    def decoder(*tokens: dict, **more: object) -> dict:
        known = {str(size): token(END, special=True, normalized=False)}
        others = numbered(list(tokens), {**model["vocab"], END: size})
        return {"added_tokens_decoder": {**known, **{str(each.pop("id")): each for each in others}}, **more}

    for name in ["GPT2Tokenizer", "PreTrainedTokenizerFast"]:
        case(f"{name}: tokens by tokenizer_config.json", {**plain, **config(name, **decoder(token("<x>", lstrip=True), token("two")))})
        case(f"{name}: tokens by tokenizer_config.json with other ids", {**plain, **config(name, added_tokens_decoder={str(size + 5): token("<x>")})}, says="another id")
        case(f"{name}: tokens of both files", {**file(added=[token("<x>", rstrip=True), token("three")]), **config(name, **decoder(token("<x>", lstrip=True)))})
        case(f"{name}: special tokens by name", {**plain, **config(name, bos_token="<x>", pad_token="two", unk_token=None, image_token="five")})
        case(f"{name}: a special token with flags", {**plain, **config(name, bos_token={"__type": "AddedToken", **token("<x>", rstrip=True)}, eos_token="two")})
        case(f"{name}: a special token with flags and no type", {**plain, **config(name, bos_token=token("<x>"))}, says="bos_token")
        case(f"{name}: more special tokens", {**plain, **config(name, additional_special_tokens=["<x>", "two"])})
        case(f"{name}: more special tokens by their new name", {**plain, **config(name, extra_special_tokens=["<x>"], additional_special_tokens=["two"])})
        case(f"{name}: named special tokens", {**plain, **config(name, extra_special_tokens={"a_token": "<x>", "b_token": "two"})})
        case(f"{name}: special tokens are text", {**plain, **config(name, split_special_tokens=True)})
        case(f"{name}: special_tokens_map.json", {**plain, **config(name, bos_token="!"), "special_tokens_map.json": {"bos_token": "<x>", "eos_token": {"content": "two", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}, "additional_special_tokens": ["five"]}})
        case(f"{name}: special_tokens_map.json beside added_tokens_decoder", {**plain, **config(name, **decoder()), "special_tokens_map.json": {"bos_token": "<x>"}})
        case(f"{name}: added_tokens.json", {**plain, **config(name, bos_token="<x>"), "added_tokens.json": {"<x>": size + 1, "two": model["vocab"]["two"], "<y>": size + 2}})
        case(f"{name}: added_tokens.json with other ids", {**plain, **config(name), "added_tokens.json": {"two": size + 7}}, says="another id")
    case("padding and truncation", {**file(padding={"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "two"}, truncation={"direction": "Left", "max_length": 2, "strategy": "LongestFirst", "stride": 0}), **config("PreTrainedTokenizerFast", model_max_length=3, padding_side="left", truncation_side="left")})
    case("padding of a rebuilt class", {**file(padding={"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0, "pad_type_id": 0, "pad_token": "two"}), **config()})
    case("fields that transformers leaves alone", {**plain, **config(do_lower_case=True, clean_up_tokenization_spaces=True, errors="strict", strip_accents=True, model_max_length=1, trim_offsets=False, legacy=True, unheard_of=1, use_fast=False)})
    for field, value in {"auto_map": {"AutoTokenizer": ["a.B", None]}, "fast_tokenizer_files": ["tokenizer.4.0.0.json"], "init_inputs": [1], "vocab": {"a": 1}}.items():
        case(f"{field} in tokenizer_config.json", {**plain, **config(**{field: value})}, says=field)
    case("chat templates", {**plain, **config(chat_template=[{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}])})
    case("a chat template by its own file", {**plain, **config(chat_template="no"), "chat_template.jinja": "yes"})

    # vocab.json and merges.txt
    lines = "".join(f"{left} {right}\n" for left, right in model["merges"])
    pair = {"vocab.json": model["vocab"], "merges.txt": f"#version: 0.2\n{lines}"}
    case("vocab.json and merges.txt alone", pair)
    case("vocab.json and merges.txt with CRLF and no last line feed", {**pair, "merges.txt": lines.replace("\n", "\r\n").rstrip("\r\n")})
    case("vocab.json and merges.txt with an empty line", {**pair, "merges.txt": f"{lines}\n"}, says="merges")
    case("vocab.json and merges.txt with END in the vocabulary", {**pair, "vocab.json": {**model["vocab"], END: size}})
    for flags in [{"add_bos_token": True}, {"add_eos_token": True}, {"add_bos_token": True, "add_eos_token": True, "add_prefix_space": True}]:
        case(f"vocab.json and merges.txt, {', '.join(flags)}", {**pair, **config(**flags, eos_token="<x>")})
    case("vocab.json and merges.txt without the BOS to add", {**pair, **config(add_bos_token=True, bos_token=None)})
    case("vocab.json and merges.txt with the older files", {**pair, **config(None, add_bos_token=True), "added_tokens.json": {"<x>": size, "two": model["vocab"]["two"]}, "special_tokens_map.json": {"bos_token": "<x>", "unk_token": {"content": "five", "lstrip": False, "normalized": True, "rstrip": False, "single_word": True}}})
    case("vocab.json and merges.txt of GPTNeoXTokenizer", {**pair, **config("GPTNeoXTokenizer")})
    case("vocab.json and merges.txt of Qwen2Tokenizer", {**pair, **config("Qwen2Tokenizer")})
    case("vocab.json and merges.txt of a class that reads neither", {**pair, **config("PreTrainedTokenizerFast")}, says="tokenizer_class")
    case("vocab.json alone", {"vocab.json": model["vocab"]}, says="vocab.json alone")
    case("both kinds", {**pair, **plain, **config(add_bos_token=True)})
    return cases


def directories() -> dict:
    tokenizer = base()
    size = len(tokenizer["model"]["vocab"])
    cases = []
    for each in directory_cases(tokenizer):
        files = dict(each["files"])
        if "tokenizer.json" in files:
            change = {key: value for key, value in files["tokenizer.json"].items() if key not in ["base", "added"]}
            more = numbered(files["tokenizer.json"].get("added", []), {**tokenizer["model"]["vocab"], END: size})
            files["tokenizer.json"] = applied({**tokenizer, "added_tokens": tokenizer["added_tokens"] + more}, change)
            each["files"]["tokenizer.json"] = {**change, **({"added_tokens": files["tokenizer.json"]["added_tokens"]} if more else {})}
        row = dict(each)
        try:
            ids, read = ids_of(files)
            template = read.chat_template
            row |= {"ids": compact(ids), "bosToken": read.bos_token, "eosToken": read.eos_token, "chatTemplate": template["default"] if isinstance(template, dict) else template}
            if "says" in each and "tokenizer.json" in files:
                own = library.Tokenizer.from_str(json.dumps({**files["tokenizer.json"], "truncation": None, "padding": None}))
                if compact([own.encode(text).ids for text in TEXTS]) == row["ids"]:
                    print(f"{each['name']}: the file's ids are transformers' ids")
        except Exception as error:
            row["ids"] = None
            print(f"{each['name']}: transformers says {str(error)[:120]}")
        cases.append(row)
    return {"about": "ids by transformers' AutoTokenizer; see test/interop/figures.py", "texts": TEXTS, "tokenizer": tokenizer, "cases": cases}


def fuzz() -> dict:
    """A small part of what token-ids.py compares, over the small tokenizer."""
    tokenizer = base()
    texts = strings(24, 3)
    cases = []
    for name, files in kinds(tokenizer).items():
        ids, read = ids_of(files, texts)
        if "tokenizer.json" in files:
            change = {key: value for key, value in files["tokenizer.json"].items() if value != tokenizer[key]}
            in_model = {key: value for key, value in change.pop("model", {}).items() if value != tokenizer["model"].get(key)}
            files = {**files, "tokenizer.json": {**change, **({"in_model": in_model} if in_model else {})}}
        cases.append({"name": name, "files": files, "ids": compact(ids), "bosToken": read.bos_token, "eosToken": read.eos_token, "chatTemplate": None})
    return {"about": "random texts; ids by transformers' AutoTokenizer; see test/interop/figures.py", "texts": texts, "tokenizer": tokenizer, "cases": cases}


def record() -> None:
    for name, made in {"tokenizer-fields": fields(), "tokenizer-directories": directories(), "tokenizer-fuzz": fuzz()}.items():
        path = REFERENCE / f"{name}.json"
        path.write_text(json.dumps(made, ensure_ascii=True, separators=(",", ":")) + "\n")
        print(f"{path.name}: {path.stat().st_size} bytes")
