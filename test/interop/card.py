"""Reads a published model's card by huggingface_hub, as it reads cards for the hub: python3 card.py [DIRECTORY]

DIRECTORY is a published model; without it a small one with figures of every kind is published. huggingface_hub must
- load the card, with every field of its front matter, and write the same fields again;
- take the model-index for evaluation results, and make the same model-index of them;
- take each file of `.eval_results/` for entries, and write the same entries again.
The hub's own check (`ModelCard.validate`) needs the network and is not called. Needs huggingface_hub and a built dist/. Exits with
1 if something differs.
"""

import pathlib
import subprocess
import sys
import tempfile

import yaml
from huggingface_hub import ModelCard, ModelCardData, eval_result_entries_to_yaml, parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

HERE = pathlib.Path(__file__).resolve().parent
RELATIONS = {"adapter", "finetune", "merge", "quantized"}
FAILED: list[str] = []


def check(what: str, right: bool, detail: object = "") -> None:
    """Says what was compared."""
    print(f"{'ok   ' if right else 'WRONG'} {what} {detail}".rstrip(), flush=True)
    if not right:
        FAILED.append(what)


def fields(card: ModelCard) -> dict[str, object]:
    """A card's front matter, as huggingface_hub writes it."""
    return dict(card.data.to_dict())  # type: ignore[no-untyped-call]


def made() -> pathlib.Path:
    """A small published model."""
    command = ["node", str(HERE / "card.mjs"), tempfile.mkdtemp(prefix="roslin-interop-card-")]
    return pathlib.Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def main() -> None:
    """Every part of the card."""
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else made()
    text = (directory / "README.md").read_text(encoding="utf-8")
    matter = yaml.safe_load(text.split("---\n")[1])
    card = ModelCard.load(directory / "README.md", ignore_metadata_errors=False)
    check("the card loads", isinstance(card.data, ModelCardData), sorted(matter))
    check("every field is there again", fields(ModelCard(str(card))) == fields(card) == matter)
    check("the relation to the base is one of the hub's", matter.get("base_model_relation", "finetune") in RELATIONS)
    check("the text follows", card.text.lstrip().startswith("# "))
    if "model-index" in matter:
        name, results = model_index_to_eval_results(matter["model-index"])
        check("the model-index is read", len(results) > 0, [f"{result.dataset_type} {result.metric_name}" for result in results])
        check("and is the same again", eval_results_to_model_index(name, results) == matter["model-index"])
        check("its values are numbers", all(isinstance(result.metric_value, float | int) for result in results))
        check("the card has them", card.data.eval_results == results)
    for path in sorted((directory / ".eval_results").glob("*.yaml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        check(f"{path.name} is read", eval_result_entries_to_yaml(parse_eval_result_entries(entries)) == entries, entries)
    if FAILED:
        raise SystemExit(f"{len(FAILED)} comparisons differ")
    print("all agree")


if __name__ == "__main__":
    main()
