"""Writes sampling.json: what transformers' logits processors leave of logits, for test/core/generation/sampling.test.ts.

Run with transformers 5: python sampling.py > sampling.json
"""

import json

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

CASES: list[dict[str, float]] = [
    {"temperature": 1.0, "topK": 0, "topP": 1.0, "repetitionPenalty": 1.0},
    {"temperature": 0.7, "topK": 0, "topP": 1.0, "repetitionPenalty": 1.0},
    {"temperature": 1.0, "topK": 5, "topP": 1.0, "repetitionPenalty": 1.0},
    {"temperature": 1.0, "topK": 0, "topP": 0.92, "repetitionPenalty": 1.0},
    {"temperature": 1.0, "topK": 0, "topP": 0.01, "repetitionPenalty": 1.0},
    {"temperature": 1.0, "topK": 0, "topP": 0.999, "repetitionPenalty": 1.0},
    {"temperature": 1.5, "topK": 20, "topP": 0.9, "repetitionPenalty": 1.3},
    {"temperature": 0.3, "topK": 3, "topP": 0.5, "repetitionPenalty": 0.8},
    {"temperature": 1.0, "topK": 1, "topP": 1.0, "repetitionPenalty": 2.0},
    {"temperature": 2.0, "topK": 1000, "topP": 0.6, "repetitionPenalty": 1.1},
]


def warp(logits: torch.Tensor, said: list[int], case: dict[str, float]) -> list[float | None]:
    """What is left of the logits; None where nothing is."""
    steps = LogitsProcessorList()
    if case["repetitionPenalty"] != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(case["repetitionPenalty"]))
    if case["temperature"] != 1:
        steps.append(TemperatureLogitsWarper(case["temperature"]))
    if case["topK"] > 0:
        steps.append(TopKLogitsWarper(int(case["topK"])))
    if case["topP"] < 1:
        steps.append(TopPLogitsWarper(case["topP"]))
    left = steps(torch.tensor([said]), logits[None].clone())[0].tolist()
    return [None if value == float("-inf") else value for value in left]


def main() -> None:
    """Prints the figures of every case on flat, steep and tied logits."""
    generator = torch.Generator().manual_seed(7)
    flat = torch.randn(48, generator=generator)
    steep = torch.randn(48, generator=generator) * 6
    tied = (torch.randn(48, generator=generator) * 2).round()
    said = [3, 3, 17, 40, 0]
    figures = []
    for name, logits in (("flat", flat), ("steep", steep), ("tied", tied)):
        for case in CASES:
            # which of equally likely tokens top-p keeps is an accident of torch's sort
            if name == "tied" and case["topP"] < 1:
                continue
            figures.append(
                {
                    "logits": logits.tolist(),
                    "said": said,
                    **case,
                    "left": warp(logits, said, case),
                }
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
