"""The peer of `roslin bench train --against PYTHON`: one training step of transformers' GPT-J for each line of standard input.

    pytorch.py MODE MODEL [LORA]    MODE: fp32 or bf16 (one process, a thread for each core), fsdp (FSDP2 in fp32, eight ranks over gloo),
                                    peft or peft-checkpointing (adapters by PEFT in fp32, one process; LORA: its LoraConfig as JSON)

A line is [[[input_ids, labels], ...], ...]: batches of rows; a row's labels are not shifted. One process takes the batches one
after the other and adds up their gradients; each of eight ranks takes its own batch. The answer is the step's seconds and its
loss. Batches are padded to their longest row, rounded up to 8, as Dolly's collator does. Gradient checkpointing, AdamW and
clipping are Dolly's, too. Needs torch and transformers.
"""

import json
import os
import socket
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import transformers
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

RANKS = 8
IGNORED = -100


def padded(rows):
    length = -(-max(len(ids) for ids, _ in rows) // 8) * 8
    fill = lambda values, padding: values + [padding] * (length - len(values))
    ids = torch.tensor([fill(ids, 0) for ids, _ in rows])
    mask = torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows])
    # position t predicts token t + 1
    labels = torch.tensor([fill(labels[1:], IGNORED) for _, labels in rows])
    return ids, mask, labels


def load(path, dtype):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype, use_cache=False)
    model.gradient_checkpointing_enable()
    return model.train()


def optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)


def step(model, adamw, batches, share):
    """The sum of the losses of `batches`, after one update; `share` is the weight of one label."""
    adamw.zero_grad(set_to_none=True)
    total = 0.0
    for ids, mask, labels in map(padded, batches):
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        (loss * share).backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adamw.step()
    return total


def labels_of(batches):
    return sum(label != IGNORED for rows in batches for _, labels in rows for label in labels[1:])


def answer(**figures):
    print(json.dumps(figures), flush=True)


def one_process(dtype, path):
    model = load(path, dtype)
    adamw = optimizer(model)
    answer(torch=torch.__version__, transformers=transformers.__version__)
    steps(model, adamw)


def steps(model, adamw):
    for line in sys.stdin:
        batches = json.loads(line)
        count = labels_of(batches)
        started = time.perf_counter()
        total = step(model, adamw, batches, 1 / count)
        answer(seconds=time.perf_counter() - started, loss=total / count)


def adapters(path, lora, checkpointing):
    import peft

    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, use_cache=False)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **json.loads(lora)))
    if checkpointing:
        # without inputs that need a gradient, nothing in a block would get one
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    answer(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)
    steps(model, adamw)


def rank_main(rank, port, path, lines, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(RANKS))
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh = dist.init_device_mesh("cpu", (RANKS,))
    model = load(path, torch.float32)
    # the blocks, by the name of their class
    for block in [module for module in model.modules() if type(module).__name__ in model._no_split_modules]:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    adamw = optimizer(model)
    results.put((rank, 0.0, 0.0))
    while (batches := lines[rank].get()) is not None:
        count = labels_of(batches)
        dist.barrier()
        started = time.perf_counter()
        # FSDP takes the mean over ranks
        total = step(model, adamw, [batches[rank]], RANKS / count)
        dist.barrier()
        results.put((rank, time.perf_counter() - started, total / count))
    dist.destroy_process_group()


def eight_ranks(path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    lines = [context.SimpleQueue() for _ in range(RANKS)]
    results = context.SimpleQueue()
    ranks = mp.spawn(rank_main, (port, path, lines, results), RANKS, join=False)

    def everyone(batches):
        for line in lines:
            line.put(batches)

    def gather():
        told = []
        while len(told) < RANKS:
            # raises when a rank has failed
            ranks.join(0.01)
            while not results.empty():
                told.append(results.get())
        return told

    gather()
    answer(torch=torch.__version__, transformers=transformers.__version__)
    for line in sys.stdin:
        everyone(json.loads(line))
        told = gather()
        answer(seconds=max(seconds for _, seconds, _ in told), loss=sum(loss for _, _, loss in told))
    everyone(None)
    ranks.join()


if __name__ == "__main__":
    mode, path, *lora = sys.argv[1:]
    if mode == "fsdp":
        eight_ranks(path)
    elif mode.startswith("peft"):
        adapters(path, lora[0], mode == "peft-checkpointing")
    else:
        one_process({"fp32": torch.float32, "bf16": torch.bfloat16}[mode], path)
