"""Makes GGUF files with llama.cpp's Python package, and transformers' reading of them: python3 make_gguf.py, in this directory.

Made with gguf 0.19.0, numpy 2, tokenizers 0.23.3 and transformers 5.24.0. Writes into gguf-files/:
types.gguf    a tensor of each type that Roslin reads, and a value of each kind; types.json: the tensors as fp32, the values
llama.gguf    a small Llama with a SentencePiece tokenizer; llama.json: the digest of each weight, and ids of texts, by transformers
words.json    a byte-level vocabulary, and ids of texts for each way to split words
"""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer

Floats = npt.NDArray[np.float32]
HERE = pathlib.Path(__file__).resolve().parent / "gguf-files"
TYPES = [GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")]
TEXTS = [
    "Hello, world!", "  leading blanks", "trailing  ", "12 345 6789 and 3.14", "don't WE'LL", "naïve café", "日本語", "a\n\nb\r\n\tc",
    "<s>x</s> y", "Hi<|user|> there <|user|>", "😀", "", " ", "½ Ⅷ ²", "\ufeffx", "The quick brown fox",
]  # fmt: skip


def packed(values: Floats, kind: GGMLQuantizationType) -> npt.NDArray[Any]:
    if kind is GGMLQuantizationType.F32:
        return values
    return values.astype(np.float16) if kind is GGMLQuantizationType.F16 else quantize(values, kind)


def add(writer: GGUFWriter, name: str, data: npt.NDArray[Any], kind: GGMLQuantizationType) -> None:
    writer.add_tensor(name, data, raw_dtype=None if data.dtype in (np.float32, np.float16) else kind)


def write(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_types() -> None:
    draw = np.random.default_rng(1)
    writer = GGUFWriter(HERE / "types.gguf", "none")
    values: dict[str, Any] = {"text": "a\ufeff日本", "flag": True, "texts": ["", "\ufeff", "ü"], "flags": [True, False]}
    writer.add_string("text", values["text"])
    writer.add_bool("flag", values["flag"])
    writer.add_array("texts", values["texts"])
    writer.add_array("flags", values["flags"])
    for bits in (8, 16, 32, 64):
        least, most = -(2 ** (bits - 1)), 2**bits - 1
        getattr(writer, f"add_int{bits}")(f"int{bits}", least)
        getattr(writer, f"add_uint{bits}")(f"uint{bits}", most)
        values |= {f"int{bits}": str(least), f"uint{bits}": str(most)}
    writer.add_float32("float32", 0.5)
    writer.add_float64("float64", 1e-300)
    writer.add_array("int32s", [-1, 2])
    writer.add_array("nested", [[1, 2], [3]])
    values |= {"float32": 0.5, "float64": 1e-300, "int32s": [-1, 2]}
    tensors: dict[str, str] = {}
    for kind in TYPES:
        data = packed((draw.standard_normal((3, 64)) * 10.0 ** draw.integers(-6, 4, (3, 1))).astype(np.float32), kind)
        if data.dtype == np.uint8 and kind is not GGMLQuantizationType.BF16:
            # blocks that no quantizer would make: any codes, and scales that are tiny, negative or zero
            data = draw.integers(0, 256, data.shape).astype(np.uint8)
            blocks = data.reshape(6, -1)
            blocks[:, :2] = np.array([1e-7, -0.01, 0, 65504, -0.0, 3], np.float16).reshape(6, 1).view(np.uint8)
            if kind is GGMLQuantizationType.Q4_1:
                blocks[:, 2:4] = np.array([-1e-7, 0.1, -3, 65504, 0, -7], np.float16).reshape(6, 1).view(np.uint8)
        add(writer, kind.name, data, kind)
        tensors[kind.name] = dequantize(data, kind).astype("<f4").tobytes().hex()
    write(writer)
    (HERE / "types.json").write_text(json.dumps({"values": values, "tensors": tensors}, indent=1) + "\n")


def sentence_pieces() -> tuple[list[bytes], list[float], list[int]]:
    """Tokens, scores and types: bytes, pieces of a few words, characters, and a token that is cut out."""
    words = "▁the▁quick▁brown▁fox▁hello▁world▁there▁leading▁blanks"
    cut = {words[at : at + size] for size in (2, 3, 4, 5, 6) for at in range(len(words) - size)}
    pieces = sorted((piece for piece in cut if "▁" not in piece[1:]), key=lambda piece: (len(piece), piece))
    characters = sorted(set(words + "0123456789.,!'"))
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    tokens += [piece.encode() for piece in [*pieces, *characters]] + [b"<|user|>"]
    many = len(pieces) + len(characters)
    scores = [0.0] * 259 + [-1.0 - rank // 2 for rank in range(many)] + [-1000.0]
    return tokens, scores, [2, 3, 3] + [6] * 256 + [1] * many + [4]


def make_llama() -> None:
    draw = np.random.default_rng(2)
    layers, width, inner, heads, key_heads, head = 2, 32, 64, 4, 2, 8
    writer = GGUFWriter(HERE / "llama.gguf", "llama")
    writer.add_name("small")
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(10000.0)
    tokens, scores, types = sentence_pieces()
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}")
    kinds = iter(TYPES * 99)

    def weight(name: str, *shape: int) -> None:
        values = (draw.standard_normal(shape) * 0.1).astype(np.float32)
        kind = GGMLQuantizationType.F32 if len(shape) == 1 else next(kinds)
        add(writer, name, packed(values, kind), kind)

    weight("output.weight", len(tokens), width)
    weight("token_embd.weight", len(tokens), width)
    for layer in range(layers):
        block = f"blk.{layer}."
        weight(f"{block}attn_norm.weight", width)
        weight(f"{block}attn_q.weight", heads * head, width)
        weight(f"{block}attn_k.weight", key_heads * head, width)
        weight(f"{block}attn_v.weight", key_heads * head, width)
        weight(f"{block}attn_output.weight", width, heads * head)
        weight(f"{block}ffn_norm.weight", width)
        weight(f"{block}ffn_gate.weight", inner, width)
        weight(f"{block}ffn_up.weight", inner, width)
        weight(f"{block}ffn_down.weight", width, inner)
    weight("output_norm.weight", width)
    write(writer)
    model = AutoModelForCausalLM.from_pretrained(HERE, gguf_file="llama.gguf", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(HERE, gguf_file="llama.gguf")
    weights = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in model.state_dict().items()}
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    ids = [[text, tokenizer(text)["input_ids"]] for text in TEXTS]
    (HERE / "llama.json").write_text(json.dumps({"weights": weights, "merges": merges, "ids": ids}) + "\n")


LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(first: Any, use_regex: bool) -> Any:
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    return last if first is None else pre_tokenizers.Sequence([first, last])


def split(pattern: str) -> Any:
    return byte_level(pre_tokenizers.Split(Regex(pattern), "isolated"), False)


def make_words() -> None:
    """The ways to split words as the models' own tokenizer.json has them, over one vocabulary that has tokens of digits."""
    ways: dict[str, tuple[Any, Any]] = {
        "gpt-2": (byte_level(None, True), None),
        "smollm": (byte_level(pre_tokenizers.Digits(individual_digits=True), True), None),
        "llama-bpe": (split(LETTERS + r"|\p{N}{1,3}" + REST), None),
        "dbrx": (split(LETTERS + r"|\p{N}{1,3}" + REST), None),
        "qwen2": (split(LETTERS + r"|\p{N}" + REST), normalizers.NFC()),
        "megrez": (split(LETTERS + r"|\p{N}" + REST), None),
    }
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = byte_level(None, True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [*TEXTS, "e\u0301te\u0301", "1234567890 123 345 6789 12"] * 3
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=380, initial_alphabet=alphabet, show_progress=False))
    learnt = json.loads(learner.to_str())["model"]
    tokens = [token for token, _ in sorted(learnt["vocab"].items(), key=lambda entry: entry[1])]
    # a word that no merges make, and a token that is cut out
    tokens += ["brown", "<|user|>"]
    merges = [" ".join(merge) for merge in learnt["merges"]]
    ids: dict[str, Sequence[tuple[str, list[int]]]] = {}
    for name, (pre_tokenizer, normalizer) in ways.items():
        vocabulary = {token: index for index, token in enumerate(tokens)}
        pairs = [tuple(merge) for merge in learnt["merges"]]
        tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=name == "llama-bpe"))
        tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizer, normalizer
        tokenizer.add_special_tokens(["<|user|>"])
        ids[name] = [(text, tokenizer.encode(text).ids) for text in [*texts[: len(texts) // 3], "x:brown"]]
    (HERE / "words.json").write_text(json.dumps({"tokens": tokens, "merges": merges, "ids": ids}) + "\n")


HERE.mkdir(exist_ok=True)
make_types()
make_llama()
make_words()
