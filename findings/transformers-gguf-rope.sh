#!/usr/bin/env bash
# transformers 5.24.0, from_pretrained(directory, gguf_file=...) of a GGUF of the architecture llama: what the file says of scaled
# rotations is dropped without a warning. Llama 3.1 and later carry it as a tensor, rope_freqs.weight, by which llama.cpp divides
# the frequencies; linear scaling is in llama.rope.scaling.type and .factor. Either way the config read says rope_type "default".
# All weights equal those of the model that the file was made of, and the logits of all tokens after the first are other ones.
#
# Seen on 2026-11-30, 48 tokens through two random layers, the model read beside the one that the file was made of:
#   llama3: weights equal, read as default: logits differ by 0.0 at the first token and 8.2 after it, with the rope given by 0.0
#   linear: weights equal, read as default: logits differ by 0.0 at the first token and 7.8 after it, with the rope given by 0.0
#
# What to do: give the original model's settings, from_pretrained(..., rope_parameters={"rope_type": "llama3", ...}).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0
cat >look.py <<'PY'
import sys

import numpy as np
import torch
from gguf import GGUFWriter, RopeScalingType
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HEADS, KEY_HEADS, HEAD, THETA = 4, 2, 16, 10000.0
ROPES = {
    "llama3": dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
    "linear": dict(factor=4.0),
}
NAMES = {
    "model.embed_tokens": "token_embd", "model.layers": "blk", "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "post_attention_layernorm": "ffn_norm", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "model.norm": "output_norm",
    "lm_head": "output",
}  # fmt: skip


def write(model, kind, path):
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(THETA)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(ROPES[kind]["factor"])
    else:
        plain = THETA ** -(torch.arange(0, HEAD, 2) / HEAD)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).numpy())
    for name, tensor in model.state_dict().items():
        weight = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:  # llama.cpp rotates neighbours, transformers the halves of a head
            weight = weight.reshape(-1, 2, HEAD // 2, config.hidden_size).swapaxes(1, 2).reshape(weight.shape)
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(48)[None] * 37 % 256).logits[0]


expected = True
for kind, settings in ROPES.items():
    rope = dict(rope_type=kind, rope_theta=THETA, **settings)
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(
        num_hidden_layers=2, hidden_size=64, intermediate_size=96, num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS,
        head_dim=HEAD, vocab_size=256, max_position_embeddings=512, initializer_range=0.2, rope_parameters=rope,
    ))  # fmt: skip
    write(made, kind, f"{kind}.gguf")
    read = AutoModelForCausalLM.from_pretrained(".", gguf_file=f"{kind}.gguf", dtype="float32")
    given = AutoModelForCausalLM.from_pretrained(".", gguf_file=f"{kind}.gguf", dtype="float32", rope_parameters=rope)
    weights = made.state_dict()
    equal = all(torch.equal(weights[name], tensor) for model in (read, given) for name, tensor in model.state_dict().items())
    first, *after = (logits(read) - logits(made)).abs().amax(-1).tolist()
    right = (logits(given) - logits(made)).abs().max().item()
    rope_type = read.config.rope_parameters["rope_type"]
    print(
        f"{kind}: weights {'equal' if equal else 'differ'}, read as {rope_type}: logits differ by {first:.1f} at the first token"
        f" and {max(after):.1f} after it, with the rope given by {right:.1f}"
    )
    expected &= equal and rope_type == "default" and first < 1e-4 and min(after) > 0.01 and max(after) > 1 and right < 1e-4
sys.exit(0 if expected else 1)
PY
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error python/bin/python look.py 2>/dev/null
