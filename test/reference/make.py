"""Makes PyTorch's figures for each family at several shapes: python3 make.py [CASE ...], after a build of Roslin.

Made with torch 2.15.0 and transformers 5.24.0 (GPT-J's with 5.23.0), fp32, one thread. Each batch is padded to its longest row,
so what Roslin computes without padding is compared with the padded computation. Which rows a step takes is asked of Roslin
(`steps_of`). Every case is computed in float64 too, and how far fp32 is from that is printed: a bound of a test below it means
nothing. gptj-tiny is older and has no settings of its own: it trains on one batch, as its expected.json says.
"""

import copy
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, get_scheduler

HERE = pathlib.Path(__file__).resolve().parent
PAD = 0
IGNORED = -100
SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}

Json = dict[str, Any]
Row = tuple[list[int], list[int]]
Tensors = dict[str, torch.Tensor]

# the setting that says how many positions there are, what a norm's vector has in its name, and the weights' deviation
FAMILIES: dict[str, tuple[Json, str, float]] = {
    "gptj": (dict(n_positions=32), "ln_", 0.3),
    "llama": (dict(max_position_embeddings=64), "norm", 0.2),
    "gpt_neox": (dict(max_position_embeddings=32), "norm", 0.2),
    "qwen2": (dict(max_position_embeddings=32), "norm", 0.15),
    "qwen3": (dict(max_position_embeddings=32), "norm", 0.2),
}

# lengths of rows, and how many of their first tokens carry no loss; a row may have none that does
SEVEN = [(9, 3), (2, 1), (1, 0), (14, 0), (6, 6), (3, 2), (11, 7)]
TWELVE = [(6, 2), (12, 3), (2, 1), (9, 8), (5, 5), (16, 4), (1, 1), (3, 0), (8, 1), (4, 2), (10, 6), (7, 3)]
TWENTY = [(17, 5), (1, 0), (9, 3), (24, 8), (2, 1), (13, 13), (4, 0), (8, 2), (3, 1), (10, 1), (6, 5), (12, 4), (7, 0), (5, 3), (19, 9), (2, 2), (15, 6), (11, 2), (20, 1), (16, 12)]  # fmt: skip # noqa: E501

# six rows in chunks of one and then one row, which may carry no loss; eighteen rows and then two; eight rows and then four
CHUNKS: Json = dict(shards=3, microBatch=1, accumulation=2, epochs=10, schedule="constant", warmupSteps=3, learningRate=3e-3, weightDecay=0.1, maxGradNorm=0.5)  # fmt: skip # noqa: E501
COSINE: Json = dict(shards=2, microBatch=3, accumulation=3, epochs=10, schedule="cosine", warmupSteps=2, learningRate=1e-3, weightDecay=0.01, maxGradNorm=1.0)  # fmt: skip # noqa: E501
EIGHT: Json = dict(shards=8, microBatch=1, accumulation=1, epochs=10, schedule="linear", warmupSteps=5, learningRate=2e-3, weightDecay=0.2, maxGradNorm=2.0, betas=[0.8, 0.95], epsilon=1e-6)  # fmt: skip # noqa: E501
# Adam makes a step of full length of a gradient that is nothing but rounding, if epsilon is small
LARGE_EPSILON: Json = dict(epsilon=1e-3, learningRate=4e-3)

LLAMA3 = dict(rope_type="llama3", rope_theta=100000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)  # fmt: skip # noqa: E501

CASES: dict[str, tuple[str, Json, list[tuple[int, int]], Json]] = {
    # one head, of which little is rotated
    "gptj-one-head": ("gptj", dict(n_layer=1, n_head=1, n_embd=20, rotary_dim=6, vocab_size=53), SEVEN, CHUNKS),
    # a head's width is no power of two and rotated wholly; three layers; fewer words than eight shards divide
    "gptj-odd": (
        "gptj",
        dict(n_layer=3, n_head=3, n_embd=36, rotary_dim=12, n_inner=50, vocab_size=61, layer_norm_epsilon=1e-3),
        TWENTY,
        COSINE,
    ),  # fmt: skip # noqa: E501
    # a head's width is odd and rotated in part, the inner width is odd and below the model's
    "gptj-deep": ("gptj", dict(n_layer=5, n_head=2, n_embd=14, rotary_dim=4, n_inner=11, vocab_size=29), TWELVE, EIGHT),
    # one head
    "llama-one-head": (
        "llama",
        dict(num_hidden_layers=1, num_attention_heads=1, hidden_size=20, intermediate_size=28, vocab_size=53),
        SEVEN,
        CHUNKS,
    ),
    # three heads share one of keys and values; tied embeddings; an odd inner width; fewer words than eight shards divide
    "llama-grouped": (
        "llama",
        dict(
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            hidden_size=24,
            intermediate_size=37,
            vocab_size=61,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
        ),  # fmt: skip # noqa: E501
        TWENTY,
        COSINE,
    ),
    # a head's width is not the model's divided by heads; Llama 3's scaling, by which frequencies are kept, mixed and divided; biases
    "llama-scaled": (
        "llama",
        dict(
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            hidden_size=20,
            intermediate_size=26,
            vocab_size=47,
            rope_parameters=LLAMA3,
            attention_bias=True,
            mlp_bias=True,
        ),  # fmt: skip # noqa: E501
        TWENTY,
        COSINE | LARGE_EPSILON,
    ),
    # five layers, tied embeddings
    "llama-deep": (
        "llama",
        dict(
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            hidden_size=16,
            intermediate_size=11,
            vocab_size=29,
            tie_word_embeddings=True,
        ),  # fmt: skip # noqa: E501
        TWELVE,
        EIGHT,
    ),
    # one head, of which a quarter is rotated
    "gpt-neox-one-head": (
        "gpt_neox",
        dict(
            num_hidden_layers=1,
            num_attention_heads=1,
            hidden_size=24,
            intermediate_size=28,
            vocab_size=53,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25),
        ),  # fmt: skip # noqa: E501
        SEVEN,
        CHUNKS | LARGE_EPSILON,
    ),
    # attention first and then the inner layer on its sum; heads are rotated wholly
    "gpt-neox-serial": (
        "gpt_neox",
        dict(
            num_hidden_layers=2,
            num_attention_heads=3,
            hidden_size=24,
            intermediate_size=50,
            vocab_size=61,
            use_parallel_residual=False,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=1.0),
        ),  # fmt: skip # noqa: E501
        TWENTY,
        COSINE | LARGE_EPSILON,
    ),
    # a head's width is odd and rotated in part; an odd inner width; gelu by tanh; tied embeddings; another base and epsilon
    "gpt-neox-tied": (
        "gpt_neox",
        dict(
            num_hidden_layers=3,
            num_attention_heads=2,
            hidden_size=18,
            intermediate_size=31,
            vocab_size=47,
            hidden_act="gelu_new",
            tie_word_embeddings=True,
            layer_norm_eps=1e-3,
            rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5),
        ),  # fmt: skip # noqa: E501
        TWENTY,
        COSINE | LARGE_EPSILON,
    ),
    # five layers; gelu_fast
    "gpt-neox-deep": (
        "gpt_neox",
        dict(
            num_hidden_layers=5,
            num_attention_heads=2,
            hidden_size=16,
            intermediate_size=11,
            vocab_size=29,
            hidden_act="gelu_fast",
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25),
        ),  # fmt: skip # noqa: E501
        TWELVE,
        EIGHT | LARGE_EPSILON,
    ),
    # biases of query, key and value alone
    "qwen2-small": (
        "qwen2",
        dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=24, intermediate_size=37, vocab_size=53),
        SEVEN,
        CHUNKS | LARGE_EPSILON,
    ),
    # norms of query and key, a head's width of its own
    "qwen3-small": (
        "qwen3",
        dict(
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            hidden_size=20,
            intermediate_size=37,
            vocab_size=53,
            tie_word_embeddings=True,
        ),  # fmt: skip # noqa: E501
        SEVEN,
        CHUNKS,
    ),
}

DEFAULTS: Json = dict(learningRate=1e-5, betas=[0.9, 0.999], epsilon=1e-8, seed=42, maxSteps=None)


def steps_of(rows: int, train: Json) -> list[list[int]]:
    """The rows of each step, in Roslin's order."""
    script = """
        const { rowsOfStep, trainingPlan } = await import(process.argv[1]);
        const [rows, train] = JSON.parse(process.argv[2]);
        const { totalSteps } = trainingPlan(rows, train);
        console.log(JSON.stringify(Array.from({ length: totalSteps }, (_, step) => rowsOfStep(rows, train, step).flat(2))));
    """
    order = (HERE.parents[1] / "dist" / "core" / "training" / "order.js").as_uri()
    command = ["node", "--input-type=module", "-e", script, order, json.dumps([rows, train])]
    steps: list[list[int]] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return steps


def padded(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """input_ids, attention_mask and labels of rows, as long as the longest."""
    length = max(len(ids) for ids, _ in rows)

    def filled(columns: Iterable[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([values + [value] * (length - len(values)) for values in columns])

    return filled([ids for ids, _ in rows], PAD), filled([[1] * len(ids) for ids, _ in rows], 0), filled([labels for _, labels in rows], IGNORED)  # fmt: skip # noqa: E501


def loss_of(model: torch.nn.Module, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over the labels, shifted by one; and the logits [rows, length, words]."""
    ids, mask, labels = padded(rows)
    logits = model(input_ids=ids, attention_mask=mask).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED), logits


def trained(model: torch.nn.Module, rows: list[Row], steps: list[list[int]], train: Json) -> tuple[list[float], list[float]]:
    """Losses and norms before clipping of the steps; `model` is changed in what has gradients."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=train["learningRate"], betas=train["betas"], eps=train["epsilon"], weight_decay=train["weightDecay"]
    )
    scheduler = get_scheduler(SCHEDULERS[train["schedule"]], optimizer, train["warmupSteps"], len(steps))
    losses, norms = [], []
    for step in steps:
        batch = [rows[row] for row in step]
        optimizer.zero_grad()
        losses.append(0.0)
        norms.append(0.0)
        # a step without labels updates nothing, and yet the schedule goes on
        if any(label != IGNORED for _, labels in batch for label in labels[1:]):
            loss, _ = loss_of(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            losses[-1] = loss.item()
            norms[-1] = torch.nn.utils.clip_grad_norm_(weights, train["maxGradNorm"]).item()
            optimizer.step()
        scheduler.step()
    return losses, norms


def made_model(directory: str, family: str, shape: Json) -> torch.nn.Module:
    """A model of random weights, fp32."""
    torch.manual_seed(sum(directory.encode()))
    settings, norm, deviation = FAMILIES[family]
    config = AutoConfig.for_model(family, bos_token_id=PAD, eos_token_id=PAD, **settings, **shape)
    model: torch.nn.Module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, mean=1.0 if norm in name and name.endswith("weight") else 0.0, std=deviation)
    return model.eval()


def made_rows(lengths: list[tuple[int, int]], vocabulary: int) -> list[Row]:
    rows = []
    for length, masked in lengths:
        ids = torch.randint(0, vocabulary, (length,)).tolist()
        rows.append((ids, [IGNORED] * masked + ids[masked:]))
    return rows


def greedy(model: torch.nn.Module, prompt: list[int], count: int) -> list[int]:
    """The tokens that follow, without a cache; no token ends them."""
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + count:
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def save(path: pathlib.Path, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors}, path)


def share(got: Tensors, expected: Tensors) -> float:
    """The largest difference as a share of a tensor's largest value."""
    shares = []
    for name, tensor in expected.items():
        worst = (got[name] - tensor).abs().max().item()
        shares.append(worst and worst / tensor.abs().max().item())
    return max(shares)


def old_spelling(config: Json) -> Json:
    """A config.json as transformers 4 wrote it: what is said of rotation stands at the top."""
    old = {key: value for key, value in config.items() if key not in ["rope_parameters", "dtype"]}
    rope = dict(config["rope_parameters"])
    neox = config["model_type"] == "gpt_neox"
    old["rotary_emb_base" if neox else "rope_theta"] = rope.pop("rope_theta")
    if neox:
        old["rotary_pct"] = rope.pop("partial_rotary_factor")
    return old | dict(
        rope_scaling=None if rope["rope_type"] == "default" else rope, torch_dtype=config["dtype"], transformers_version="4.43.0"
    )


def named_as_in_files(model: torch.nn.Module) -> Iterable[tuple[str, torch.nn.Parameter]]:
    """The parameters; transformers 5 calls GPT-NeoX's head otherwise in memory than in files."""
    is_neox = any(name.startswith("gpt_neox.") for name, _ in model.named_parameters())
    return ((name.replace("lm_head.", "embed_out.") if is_neox else name, weight) for name, weight in model.named_parameters())


def computed(model: torch.nn.Module, rows: list[Row], steps: list[list[int]], train: Json) -> tuple[torch.Tensor, dict[str, Tensors], Json]:
    """The loss of all rows, tensors by the name of their file, and what the steps gave. `model` is trained."""
    loss, logits = loss_of(model, rows)
    loss.backward()  # type: ignore[no-untyped-call]
    tensors = {"logits": {"logits": logits.detach()}, "gradients": {name: weight.grad.clone() for name, weight in named_as_in_files(model) if weight.grad is not None}}  # fmt: skip # noqa: E501
    model.zero_grad()
    losses, norms = trained(model, rows, steps, train)
    tensors["after-20-steps"] = {name: weight.detach() for name, weight in named_as_in_files(model)}
    return loss, tensors, dict(training_losses=losses, gradient_norms_before_clipping=norms)


def make(directory: pathlib.Path, family: str, shape: Json, lengths: list[tuple[int, int]], settings: Json) -> None:
    train = DEFAULTS | settings
    model = made_model(directory.name, family, shape)
    rows = made_rows(lengths, shape["vocab_size"])
    directory.mkdir(exist_ok=True)
    model.save_pretrained(directory)  # type: ignore[operator]
    (directory / "generation_config.json").unlink(missing_ok=True)
    ids, mask, labels = (column.tolist() for column in padded(rows))
    steps = steps_of(len(rows), train)
    assert len(steps) == 20
    expected = dict(about="made by ../make.py", train=train, steps=steps, input_ids=ids, attention_mask=mask, labels=labels)
    said: Json = {}
    if family != "gptj":
        prompt = rows[0][0][:5]
        said = dict(prompt=prompt, greedy_continuation=greedy(model, prompt, 16))
        old = old_spelling(json.loads((directory / "config.json").read_text()))
        (directory / "config-old-spelling.json").write_text(json.dumps(old, indent=2) + "\n")
    exact_model = copy.deepcopy(model).double()
    loss, tensors, outcome = computed(model, rows, steps, train)
    for file, values in tensors.items():
        save(directory / f"expected-{file}.safetensors", values.items())
    (directory / "expected.json").write_text(json.dumps(expected | dict(loss=loss.item()) | outcome | said))
    for file_path in directory.iterdir():
        file_path.chmod(0o644)
    _, exact, exact_outcome = computed(exact_model, rows, steps, train)
    differences = {file: share(values, exact[file]) for file, values in tensors.items()}
    pairs = [pair for key, values in outcome.items() for pair in zip(values, exact_outcome[key], strict=True)]
    differences["losses and norms"] = max(abs(value - right) / right for value, right in pairs if right > 0)
    print(f"{directory.name}: fp32 from float64:", ", ".join(f"{what} {worst:.1e}" for what, worst in differences.items()))


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(HERE / name, *CASES[name])


if __name__ == "__main__":
    main()
