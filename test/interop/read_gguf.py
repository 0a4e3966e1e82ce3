"""Compares a GGUF that Roslin converted with transformers' own reading of it: python3 read_gguf.py FILE.gguf.

Weights and logits must be the same bits, configs must say the same, and so must token ids of texts, as transformers reads the
converted directory, and as Roslin does. Texts of which transformers gives other ids for the GGUF itself are printed: see
docs/configure.md. Needs torch, transformers, gguf, and a built dist/ (npx --no roslin setup). Exits with 1 if anything else differs.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = [
    "Hello, world!", "  leading blanks", "trailing  ", "12 345 6789 and 3.14", "don't WE'LL I'm", "naïve café Straße", "日本語のテキスト",
    "a\n\nb\r\n\tc", "<s>x</s> y", "<|im_start|>user\nHi<|im_end|>\n", "emoji 😀👩‍👩‍👧", "", " ", "½ Ⅷ ² ٣", "\ufeffx", "e\u0301te\u0301",
    "x = {'a': [1, 2]}; print(x)", "Привет, мир", "مرحبا بالعالم", "http://example.com/a?b=1&c=2", "\x00\x01", "A<|endoftext|>B",
]  # fmt: skip
SAME = ["hidden_size", "head_dim", "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers"]
SAME += ["num_key_value_heads", "tie_word_embeddings", "vocab_size", "bos_token_id", "eos_token_id", "rope_parameters"]


def main() -> int:
    source = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        command = ["node", str(HERE / "gguf.mjs"), str(source), directory]
        made = subprocess.run(command, input=json.dumps(TEXTS), capture_output=True, text=True, check=True)
        theirs = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        ours = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        direct = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        converted = AutoTokenizer.from_pretrained(directory)
    problems = [f"config: {name}" for name in SAME if getattr(theirs.config, name) != getattr(ours.config, name)]
    weights = ours.state_dict()
    problems += [f"weight: {name}" for name, tensor in theirs.state_dict().items() if not torch.equal(tensor, weights.pop(name))]
    problems += [f"weight: {name} is too much" for name in weights]
    with torch.no_grad():
        ids = torch.arange(20).reshape(1, 20) * 7919 % ours.config.vocab_size
        if not torch.equal(theirs(ids).logits, ours(ids).logits):
            problems.append("logits")
    for text, roslin in zip(TEXTS, json.loads(made.stdout), strict=True):
        expected = converted(text)["input_ids"]
        if expected != roslin:
            problems.append(f"ids of {text!r}: {expected} in transformers, {roslin} in Roslin")
        if expected != direct(text)["input_ids"]:
            print(f"transformers gives other ids for the GGUF itself: {text!r}: {direct(text)['input_ids']}, converted {expected}")
    if converted.chat_template != direct.chat_template:
        problems.append("chat template")
    print("\n".join(problems) or f"{source.name}: the same weights, logits, config and ids of {len(TEXTS)} texts")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
