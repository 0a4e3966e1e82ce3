"""Writes rouge.json: ROUGE-L of pairs of texts, for test/core/text/rouge.test.ts.

Run with rouge_score 0.1.2: python rouge.py > rouge.json
"""

import json
import random

from rouge_score import rouge_scorer

PAIRS: list[tuple[str, str]] = [
    ("The sky is blue.", "the sky is blue"),
    ("The sky is blue.", "Blue is the sky!"),
    ("", "nothing"),
    ("nothing", ""),
    ("...", "!!!"),
    ("one two three four", "one three four five"),
    ("It's 3.14, isn't it?", "its 3 14 isnt it"),
    ("naïve café — 北京", "naive cafe 北京 beijing"),
    ("ISTANBUL İstanbul ß ẞ K", "istanbul ss k"),
    ("snake_case and kebab-case", "snake case and kebab case"),
    ("line one\nline two\ttabbed", "line one line two tabbed extra"),
    ("a a a b", "a b a a"),
]


def main() -> None:
    """Prints the F-measures of the pairs and of some made ones."""
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    draw = random.Random(5)
    words = ["red", "Green", "blue,", "7", "sky", "running", "run"]
    made = [
        (
            " ".join(draw.choices(words, k=draw.randint(1, 30))),
            " ".join(draw.choices(words, k=draw.randint(1, 30))),
        )
        for _ in range(20)
    ]
    figures = [
        {"reference": reference, "answer": answer, "f": scorer.score(reference, answer)["rougeL"].fmeasure}
        for reference, answer in [*PAIRS, *made]
    ]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
