#!/usr/bin/env bash
# DeepSpeed 0.19.8 on a CPU: zero.Init(dtype=torch.float32) makes bfloat16 weights, without a word. In
# runtime/zero/partition_parameters.py the dtype that is asked for counts only where the accelerator supports fp16, because
# `dtype or a if supported else b` means `(dtype or a) if supported else b`. A model that is built so and filled with fp32
# weights is rounded: losses and norms are off in the third digit, and differ between numbers of ranks. Given a configuration
# without fp16 and bf16 instead of a dtype, the weights are fp32.
#
# Seen on 2026-11-30, with torch 2.15.0 and gloo, one process:
#   dtype=torch.float32:    torch.bfloat16
#   configuration of fp32:  torch.float32
#
# What to do: pass config_dict_or_path, and compare ds_tensor.dtype with what was asked for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
pip=(python/bin/pip install --quiet --disable-pip-version-check)
"${pip[@]}" torch==2.15.0 setuptools==80.9.0 wheel numpy packaging psutil
DS_BUILD_OPS=0 "${pip[@]}" --no-build-isolation deepspeed==0.19.8
cat >look.py <<'PY'
import os
import sys

os.environ.update(DS_ACCELERATOR="cpu", RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
import deepspeed.ops
import torch

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled
import deepspeed

torch.distributed.init_process_group("gloo", init_method=f"file://{os.getcwd()}/store", rank=0, world_size=1)
deepspeed.init_distributed("gloo", auto_mpi_discovery=False)


def made(**asked) -> torch.dtype:
    with deepspeed.zero.Init(**asked):
        return torch.nn.Linear(4, 4).weight.ds_tensor.dtype


by_dtype = made(dtype=torch.float32)
by_configuration = made(config_dict_or_path={"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}})
print(f"dtype=torch.float32:    {by_dtype}")
print(f"configuration of fp32:  {by_configuration}")
sys.exit(0 if (by_dtype, by_configuration) == (torch.bfloat16, torch.float32) else 1)
PY
python/bin/python look.py 2>errors.txt || { status=$?; cat errors.txt; exit "$status"; }
