"""Invented items in the fields of the seven tasks' datasets, the same for the same seed; some of them are awkward."""

import random
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]

WORDS = " ".join(
    [
        "water stone river lamp the a of and slowly quickly green cold kettle garden engine wool paper glass when because under over",
        "between seven twelve measure pour carry open close bright quiet sheep ladder copper salt bread window harbour winter morning",
        "pulls holds lifts breaks grows melts floats turns heavy light first last never always",
    ]
).split(" ")
ODD = [
    "naïve café",
    "Привет мир",
    "日本語の文",
    "🐑 and 🐏🐏",
    "e\u0301te\u0301",
    "x=3.14e-7",
    "it's 'quoted'",
    "<|endoftext|>",
    "{curly} %s",
    "a\tb",
]
LETTERS = "ABCDE"


class Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def words(self, low: int, high: int) -> str:
        chosen = self.random.choices(WORDS, k=self.random.randint(low, high))
        if self.random.random() < 0.12:
            chosen.insert(self.random.randrange(len(chosen) + 1), self.random.choice(ODD))
        return " ".join(chosen)

    def sentence(self, low: int, high: int) -> str:
        return self.words(low, high).capitalize() + self.random.choice([".", ".", "!", " ?"])

    def choices(self, count: int) -> list[str]:
        made = [self.words(1, 6) for _ in range(count)]
        # the same choice twice: the first one counts
        if self.random.random() < 0.05:
            made[-1] = made[0]
        if self.random.random() < 0.05:
            made[0] = " " + made[0] + " "
        return made

    def passage(self, index: int) -> str:
        # longer than the demo's model has positions
        return " ".join(self.sentence(6, 12) for _ in range(90 if index % 50 == 7 else self.random.randint(2, 6)))


def lettered(make: Maker, labels: str) -> Row:
    return {"choices": {"text": make.choices(len(labels)), "label": list(labels)}, "answerKey": make.random.choice(labels)}


def openbookqa(make: Maker, index: int) -> Row:
    ends = ["", " ", "\n", " \n\t", "\u00a0", "\u2003 "]
    stem = "" if index % 10 == 3 else make.words(3, 12) + make.random.choice(ends)
    if index % 40 == 5:
        stem = "<|endoftext|>" + stem
    row = lettered(make, "ABCD")
    if index % 9 == 2:
        row["answerKey"] = " " + row["answerKey"]
    return {"question_stem": stem, **row}


def arc(make: Maker, index: int) -> Row:
    labels = "1234" if index % 7 == 0 else LETTERS[: make.random.choice([3, 4, 4, 5])]
    return {"question": make.sentence(5, 25), **lettered(make, labels)}


def winogrande(make: Maker, index: int) -> Row:
    before = "" if index % 20 == 4 else make.words(2, 8) + " "
    after = make.random.choice([".", "", "  " + make.sentence(2, 6) + " ", " " + make.sentence(2, 6)])
    options = make.choices(2)
    return {"sentence": f"{before}_{after}", "option1": options[0], "option2": options[1], "answer": make.random.choice("12")}


def hellaswag(make: Maker, index: int) -> Row:
    marks = ["", "", " [title] ", " [step] ", "[substeps] ", " [not closed ", "[a\nb]", " [header]"]
    second = make.random.choice(
        ["", "the Man " + make.words(1, 4), "Éva geht " + make.words(1, 3), "ǆ " + make.words(1, 2), "ßa " + make.words(1, 2)]
    )
    return {
        "activity_label": make.words(1, 3),
        "ctx_a": make.sentence(4, 12) + make.random.choice(marks),
        "ctx_b": second + make.random.choice(["", "", " [step]"]),
        "endings": [
            make.random.choice(marks) + make.words(2, 9) + make.random.choice([".", " [title] more", "  twice  "]) for _ in range(4)
        ],
        "label": make.random.choice("0123"),
    }


def piqa(make: Maker, index: int) -> Row:
    options = make.choices(2)
    return {
        "goal": make.words(3, 12) + make.random.choice(["", "?", " "]),
        "sol1": options[0],
        "sol2": options[1],
        "label": make.random.randint(0, 1),
    }


def boolq(make: Maker, index: int) -> Row:
    return {"question": make.words(4, 9), "passage": make.passage(index), "idx": index, "label": make.random.randint(0, 1)}


TASKS: dict[str, Callable[[Maker, int], Row]] = {
    "openbookqa": openbookqa,
    "arc_easy": arc,
    "arc_challenge": arc,
    "winogrande": winogrande,
    "hellaswag": hellaswag,
    "piqa": piqa,
    "boolq": boolq,
}


def rows_of(task: str, count: int, seed: int) -> list[Row]:
    make = Maker(seed + list(TASKS).index(task))
    return [TASKS[task](make, index) for index in range(count)]
