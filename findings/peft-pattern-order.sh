#!/usr/bin/env bash
# peft 0.21.2, LoraConfig: of the keys of rank_pattern and alpha_pattern that match a module the first one counts, and
# save_pretrained writes adapter_config.json with sorted keys. Where two keys match one module, an adapter that is saved and
# loaded again has another scaling, without a word, if the other key sorts first; with ranks it does not load at all.
#
# Seen on 2026-11-30, alpha_pattern {"q_proj": 8, "0.self_attn.q_proj": 64}, rank 4, layer 0:
#   trained: scaling 2.0
#   loaded:  scaling 16.0
# and rank_pattern {"q_proj": 8, "0.self_attn.q_proj": 2}:
#   loaded:  RuntimeError, size mismatch
#
# What to do: write each module's whole name, so that no two keys match it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 transformers==5.24.0 peft==0.21.2
cat >look.py <<'PY'
import sys

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

sizes = dict(num_hidden_layers=2, hidden_size=16, intermediate_size=24, num_attention_heads=2, vocab_size=11)
LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained("base")
base = lambda: LlamaForCausalLM.from_pretrained("base")


def scaling(model):
    return model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj").scaling["default"]


settings = dict(task_type="CAUSAL_LM", r=4, lora_alpha=4, target_modules=["q_proj"])
trained = get_peft_model(base(), LoraConfig(**settings, alpha_pattern={"q_proj": 8, "0.self_attn.q_proj": 64}))
trained.save_pretrained("alpha")
seen = [scaling(trained), scaling(PeftModel.from_pretrained(base(), "alpha"))]
print(f"trained: scaling {seen[0]}")
print(f"loaded:  scaling {seen[1]}")
get_peft_model(base(), LoraConfig(**settings, rank_pattern={"q_proj": 8, "0.self_attn.q_proj": 2})).save_pretrained("rank")
try:
    PeftModel.from_pretrained(base(), "rank")
    seen.append("loaded")
except RuntimeError as error:
    seen.append("size mismatch" if "size mismatch" in str(error) else str(error))
print(f"ranks:   {seen[2]}")
sys.exit(0 if seen == [2.0, 16.0, "size mismatch"] else 1)
PY
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error python/bin/python look.py 2>/dev/null
