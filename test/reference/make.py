"""Makes PyTorch's figures for GPT-J at several shapes: python3 make.py, in this directory, after `npx tsc`.

Made with torch 2.15.0 and transformers 5.23.0, fp32, one thread. Each batch is padded to its longest row, so what Roslin
computes without padding is compared with the padded computation. Which rows a step takes is asked of Roslin (`steps`).
gptj-tiny is older and has no settings of its own: it trains on one batch, as its expected.json says.
"""

import json
import pathlib
import subprocess

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import GPTJConfig, GPTJForCausalLM, get_scheduler

PAD = 0
IGNORED = -100
SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}

# lengths of rows, and how many of their first tokens carry no loss; a row may have none that does
CASES = {
    # one head, of which little is rotated; steps of six rows in chunks of one and then of one row, which may carry no loss
    "gptj-one-head": dict(
        shape=dict(n_layer=1, n_head=1, n_embd=20, rotary_dim=6, vocab_size=53),
        rows=[(9, 3), (2, 1), (1, 0), (14, 0), (6, 6), (3, 2), (11, 7)],
        train=dict(shards=3, microBatch=1, accumulation=2, epochs=10, schedule="constant", warmupSteps=3, learningRate=3e-3, weightDecay=0.1, maxGradNorm=0.5),
    ),
    # a head's width is no power of two and rotated wholly; three layers; fewer words than eight shards divide
    "gptj-odd": dict(
        shape=dict(n_layer=3, n_head=3, n_embd=36, rotary_dim=12, n_inner=50, vocab_size=61, layer_norm_epsilon=1e-3),
        rows=[(17, 5), (1, 0), (9, 3), (24, 8), (2, 1), (13, 13), (4, 0), (8, 2), (3, 1), (10, 1), (6, 5), (12, 4), (7, 0), (5, 3), (19, 9), (2, 2), (15, 6), (11, 2), (20, 1), (16, 12)],
        train=dict(shards=2, microBatch=3, accumulation=3, epochs=10, schedule="cosine", warmupSteps=2, learningRate=1e-3, weightDecay=0.01, maxGradNorm=1.0),
    ),
    # a head's width is odd and rotated in part, the inner width is odd and below the model's; a step takes eight rows, the next one four
    "gptj-deep": dict(
        shape=dict(n_layer=5, n_head=2, n_embd=14, rotary_dim=4, n_inner=11, vocab_size=29),
        rows=[(6, 2), (12, 3), (2, 1), (9, 8), (5, 5), (16, 4), (1, 1), (3, 0), (8, 1), (4, 2), (10, 6), (7, 3)],
        train=dict(shards=8, microBatch=1, accumulation=1, epochs=10, schedule="linear", warmupSteps=5, learningRate=2e-3, weightDecay=0.2, maxGradNorm=2.0, betas=[0.8, 0.95], epsilon=1e-6),
    ),
}  # fmt: skip

DEFAULTS = dict(learningRate=1e-5, betas=[0.9, 0.999], epsilon=1e-8, seed=42, maxSteps=None)


def steps_of(rows, train):
    """The rows of each step, in Roslin's order."""
    script = """
        const { rowsOfStep, trainingPlan } = await import("../../dist/core/data/order.js");
        const [rows, train] = JSON.parse(process.argv[1]);
        const { totalSteps } = trainingPlan(rows, train);
        console.log(JSON.stringify(Array.from({ length: totalSteps }, (_, step) => rowsOfStep(rows, train, step).flat(2))));
    """
    command = ["node", "--input-type=module", "-e", script, json.dumps([rows, train])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def padded(rows):
    """input_ids, attention_mask and labels of rows, as long as the longest."""
    length = max(len(ids) for ids, _ in rows)
    fill = lambda values, with_: values + [with_] * (length - len(values))
    columns = ([fill(ids, PAD) for ids, _ in rows], [fill([1] * len(ids), 0) for ids, _ in rows], [fill(labels, IGNORED) for _, labels in rows])
    return tuple(torch.tensor(column) for column in columns)


def loss_of(model, rows):
    """Mean over the labels, shifted by one; and the logits [rows, length, words]."""
    ids, mask, labels = padded(rows)
    logits = model(input_ids=ids, attention_mask=mask).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED), logits


def make(directory, shape, rows, train):
    torch.manual_seed(sum(directory.name.encode()))
    train = DEFAULTS | train
    config = GPTJConfig(n_positions=32, bos_token_id=PAD, eos_token_id=PAD, architectures=["GPTJForCausalLM"], **shape)
    model = GPTJForCausalLM(config)
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, mean=1.0 if "ln_" in name and name.endswith("weight") else 0.0, std=0.3)
    made = []
    for length, masked in rows:
        ids = torch.randint(0, config.vocab_size, (length,)).tolist()
        made.append((ids, [IGNORED] * masked + ids[masked:]))
    directory.mkdir(exist_ok=True)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)

    def save(file, tensors):
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors}, directory / f"{file}.safetensors")

    loss, logits = loss_of(model, made)
    loss.backward()
    save("expected-logits", [("logits", logits)])
    save("expected-gradients", [(name, weight.grad) for name, weight in model.named_parameters()])
    model.zero_grad()

    steps = steps_of(len(made), train)
    optimizer = torch.optim.AdamW(model.parameters(), lr=train["learningRate"], betas=train["betas"], eps=train["epsilon"], weight_decay=train["weightDecay"])
    scheduler = get_scheduler(SCHEDULERS[train["schedule"]], optimizer, train["warmupSteps"], len(steps))
    losses, norms = [], []
    for step in steps:
        rows = [made[row] for row in step]
        optimizer.zero_grad()
        losses.append(0.0)
        norms.append(0.0)
        # a step without labels updates nothing, and yet the schedule goes on
        if any(label != IGNORED for _, labels in rows for label in labels[1:]):
            step_loss, _ = loss_of(model, rows)
            step_loss.backward()
            losses[-1] = step_loss.item()
            norms[-1] = torch.nn.utils.clip_grad_norm_(model.parameters(), train["maxGradNorm"]).item()
            optimizer.step()
        scheduler.step()
    save("expected-after-20-steps", model.named_parameters())
    assert len(steps) == 20

    ids, mask, labels = (column.tolist() for column in padded(made))
    expected = dict(
        about="made by ../make.py", train=train, steps=steps, input_ids=ids, attention_mask=mask, labels=labels, loss=loss.item(),
        training_losses=losses, gradient_norms_before_clipping=norms,
    )  # fmt: skip
    (directory / "expected.json").write_text(json.dumps(expected))
    for file in directory.iterdir():
        file.chmod(0o644)


torch.set_num_threads(1)
for name, case in CASES.items():
    make(pathlib.Path(name), **case)
