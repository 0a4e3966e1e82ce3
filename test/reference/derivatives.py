"""Makes transformers' figures for small models of the kinds that GPT-J's derivatives are: python3 derivatives.py.

Made with torch 2.15.0 and transformers 5.24.0, one thread. gptj-derivatives/<kind>/ has the files that the hub has of such a
model, with fewer and smaller tensors: config.json by the transformers of its time, torch files with the buffers of that time, a
tokenizer with added tokens. Figures are transformers' own, from these files, in fp32.
"""

import json
import pathlib
import shutil
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTJConfig, GPTJForCausalLM

HERE = pathlib.Path(__file__).parent / "gptj-derivatives"
Json = dict[str, Any]

END = "<|endoftext|>"
INSTRUCTION = ["### End", "### Instruction:", "### Response:"]
TEXT = "### Instruction:\nName it.\n\n### Response:\nBe <|extratoken_2|> it ### End"
POSITIONS, WIDTH = 32, 12
GENERATED = 8

SIZES: Json = dict(n_layer=2, n_head=2, n_embd=WIDTH, n_positions=POSITIONS, rotary_dim=4)
SUMMARY: Json = dict(
    summary_activation=None, summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True
)
SAMPLING: Json = dict(task_specific_params={"text-generation": {"do_sample": True, "max_length": 50, "temperature": 1.0}})
COMMON: Json = dict(
    activation_function="gelu_new",
    architectures=["GPTJForCausalLM"],
    attn_pdrop=0.0,
    embd_pdrop=0.0,
    resid_pdrop=0.0,
    gradient_checkpointing=False,
    initializer_range=0.02,
    layer_norm_epsilon=1e-05,
    model_type="gptj",
    tie_word_embeddings=False,
    tokenizer_class="GPT2Tokenizer",
    **SUMMARY,
    **SAMPLING,
)


def kind(dtype: torch.dtype, shards: int, mask: torch.dtype, words: list[str], unused: int, **config: Any) -> Json:
    """A kind of model: its weights' type and files, the type of its mask, special tokens after the extra ones, rows of no token."""
    return dict(dtype=dtype, shards=shards, mask=mask, words=words, unused=unused, config=config)


KINDS: dict[str, Json] = {
    # words for the parts of its prompt, and embeddings that were resized to them
    "dolly-v1": kind(
        torch.bfloat16,
        2,
        torch.bool,
        INSTRUCTION,
        0,
        **COMMON,
        n_inner=None,
        rotary=True,
        scale_attn_weights=True,
        torch_dtype="bfloat16",
        transformers_version="4.25.1",
        use_cache=False,
    ),
    "gpt-jt": kind(
        torch.float16,
        1,
        torch.uint8,
        [],
        0,
        **COMMON,
        n_inner=None,
        scale_attn_weights=True,
        torch_dtype="float16",
        transformers_version="4.21.1",
        use_cache=True,
    ),
    # more rows than its tokenizer has tokens
    "gpt4all-j": kind(
        torch.bfloat16,
        2,
        torch.bool,
        [],
        5,
        **COMMON,
        n_inner=None,
        rotary=True,
        scale_attn_weights=True,
        torch_dtype="float32",
        transformers_version="4.28.0.dev0",
        use_cache=False,
    ),
    # the hub's float16 branch, whose config says nothing of a type and of an inner width
    "gpt-j-float16": kind(torch.float16, 1, torch.uint8, [], 0, **COMMON, rotary=True, transformers_version="4.10.0.dev0", use_cache=True),
}


def byte_words() -> list[str]:
    """GPT-2's letters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in plain] + [chr(256 + at) for at in range(256 - len(plain))]


def tokenizer_files(words: list[str]) -> tuple[Json, int]:
    """A tokenizer's files as of old, and how many tokens it has."""
    merges = [("i", "t"), ("Ġ", "it")]
    vocabulary = {word: at for at, word in enumerate([*byte_words(), *map("".join, merges), END])}
    flags = dict(lstrip=False, normalized=True, rstrip=False, single_word=False)
    extra = {f"<|extratoken_{at}|>": len(vocabulary) - 1 + at for at in range(1, 4)}
    added = extra | {word: len(vocabulary) + len(extra) + at for at, word in enumerate(words)}
    special = [END, *words]
    tokens = [
        dict(id=at, content=word, special=word in special, **flags | dict(normalized=word not in words))
        for word, at in ({END: vocabulary[END]} | added).items()
    ]
    end = dict(content=END, **flags)
    named = dict(bos_token=end, eos_token=end, unk_token=end)
    pre_tokenizer = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True)
    files: Json = {
        "tokenizer.json": dict(
            version="1.0",
            truncation=None,
            padding=None,
            added_tokens=tokens,
            normalizer=None,
            pre_tokenizer=pre_tokenizer,
            post_processor=pre_tokenizer,
            decoder=pre_tokenizer,
            model=dict(
                type="BPE",
                dropout=None,
                unk_token=None,
                continuing_subword_prefix="",
                end_of_word_suffix="",
                fuse_unk=False,
                vocab=vocabulary,
                merges=[" ".join(pair) for pair in merges],
            ),
        ),  # fmt: skip
        "vocab.json": vocabulary,
        "merges.txt": "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges),
        "added_tokens.json": added,
        "special_tokens_map.json": named | (dict(additional_special_tokens=words, pad_token=END) if words else {}),
        "tokenizer_config.json": dict(
            add_bos_token=False,
            add_prefix_space=False,
            errors="replace",
            model_max_length=2048,
            pad_token=None,
            special_tokens_map_file=None,
            tokenizer_class="GPT2Tokenizer",
            **{name: dict(__type="AddedToken", **token) for name, token in named.items()},
        ),  # fmt: skip
    }
    return files, len(vocabulary) + len(added)


def tensors_of(config: Json, dtype: torch.dtype, mask: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights and the buffers that attention had beside them."""
    model = GPTJForCausalLM(GPTJConfig(**config))
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator) * (0.1 if weight.dim() == 1 else 0.3)
        tensors[name] = (noise + (1 if ".ln_" in name and name.endswith("weight") else 0)).to(dtype)
    for layer in range(config["n_layer"]):
        attention = f"transformer.h.{layer}.attn"
        tensors[f"{attention}.bias"] = torch.tril(torch.ones((POSITIONS, POSITIONS), dtype=mask)).view(1, 1, POSITIONS, POSITIONS)
        tensors[f"{attention}.masked_bias"] = torch.tensor(-1e9).to(dtype)
    return tensors


def save(directory: pathlib.Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    """One torch file, or several and their index."""
    if shards == 1:
        torch.save(tensors, directory / "pytorch_model.bin")
        return
    names = [f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin" for shard in range(shards)]
    weight_map = {name: names[at * shards // len(tensors)] for at, name in enumerate(tensors)}
    for file in names:
        torch.save({name: tensor for name, tensor in tensors.items() if weight_map[name] == file}, directory / file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = dict(metadata=dict(total_size=total), weight_map=weight_map)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2))


def figures(directory: pathlib.Path) -> Json:
    """What transformers makes of a directory: ids of the text, the logits [tokens, words] of the last ones, loss and continuation."""
    text_ids: list[int] = AutoTokenizer.from_pretrained(directory)(TEXT)["input_ids"]
    ids = text_ids[-16:]
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids]))
        said = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=GENERATED, min_new_tokens=GENERATED, pad_token_id=0)
    save_file({"logits": out.logits[0].contiguous()}, directory / "expected-logits.safetensors")
    (directory / "expected-logits.safetensors").chmod(0o644)
    return dict(
        about="made by ../../derivatives.py",
        text=TEXT,
        text_ids=text_ids,
        ids=ids,
        loss=out.loss.item(),
        continuation=said[0, len(ids) :].tolist(),
    )


def main() -> None:
    torch.set_num_threads(1)
    for name, made in KINDS.items():
        directory = HERE / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        files, tokens = tokenizer_files(made["words"])
        end = files["vocab.json"][END]
        config = made["config"] | SIZES | dict(bos_token_id=end, eos_token_id=end, vocab_size=tokens + made["unused"])
        for file, content in (files | {"config.json": config}).items():
            (directory / file).write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
        save(directory, tensors_of(config, made["dtype"], made["mask"]), made["shards"])
        said = figures(directory)
        (directory / "expected.json").write_text(json.dumps(said))
        print(name, config["vocab_size"], len(said["text_ids"]), said["loss"], said["continuation"])


if __name__ == "__main__":
    main()
