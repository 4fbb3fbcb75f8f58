"""Alignment error rates on the grammar: python experiments/alignment/aer.py [--report]

Needs the runs of the studies attention_variants and alignment. Which layer and head aligns is chosen on the validation
set. Writes aer.json and aer.md beside this file; --report makes the table anew from the results there are.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro
from ibm1 import Ibm1, diagonal

from transformer import api, rundir
from transformer.alignment.choose import all_links, name, rank
from transformer.alignment.measure import Gold, Measured, all_sure, measure
from transformer.alignment.words import Links, Rule
from transformer.api import Translation
from transformer.data import corpus
from transformer.data.corpus import Corpus
from transformer.rundir import Run

HERE = Path(__file__).parent
MODELS = {
    "attention_variants": ("bahdanau", "luong_general_global", "luong_general_local_p", "transformer"),
    "alignment": ("luong_general_guided", "transformer_guided"),
}
SHIFT = 1
"""Tokens, for the same attention read one step late."""


def gold(part: Corpus) -> list[Gold]:
    assert part.alignments is not None
    return all_sure(part.alignments)


def baselines(settings: Any, test: Corpus) -> Iterator[tuple[str, list[Links]]]:
    """The diagonal, and IBM Model 1 trained on the models' own training pairs."""
    yield "the diagonal", [diagonal(*pair) for pair in zip(test.sources, test.targets, strict=True)]
    train = corpus.load(settings.data).train
    model = Ibm1(train.sources, train.targets)
    yield "IBM Model 1", [model.align(*pair) for pair in zip(test.sources, test.targets, strict=True)]


def rows(model: Translation, folder: Path) -> Iterator[tuple[str, str, Measured]]:
    """(what, which layer and head, error rate) of one run: the best on validation, means, and one step late."""
    languages = model.settings.data.languages
    dev, test = (corpus.read(Run(folder).data, part, languages) for part in ("validation", "test"))
    on_dev, on_test = (model.attend(part.sources, part.targets) for part in (dev, test))
    for shift in (0, SHIFT):
        ranked = rank(on_dev, gold(dev), Rule(shift=shift))
        chosen = {"best": ranked[0].rule}
        means = [choice.rule for choice in ranked if choice.rule.head is None]
        if len(ranked) > 1 and shift == 0:
            chosen |= {
                name(rule): rule for rule in sorted(means, key=lambda rule: (rule.layer is None, rule.layer or 0))
            }
        for what, rule in chosen.items():
            measured = measure(all_links(on_test, rule), gold(test))
            yield (f"{what}, one step late" if shift else what), name(dataclasses.replace(rule, shift=0)), measured


def main(runs: Path = Path("runs"), report: bool = False) -> None:
    """Measure every run there is of the two studies.

    Args:
        runs: where run directories are.
        report: measure nothing.
    """
    path = HERE / "aer.json"
    if not report:
        results: list[dict[str, Any]] = []
        folders = [
            (cell, folder)
            for study, cells in MODELS.items()
            for cell in cells
            for folder in sorted((runs / study).glob(f"{cell}-[0-9]*"))
        ]
        for number, (cell, folder) in enumerate(folders):
            model = api.load(folder)
            if number == 0:
                test = corpus.read(Run(folder).data, "test", model.settings.data.languages)
                for what, links in baselines(model.settings, test):
                    add(results, what, 0, "", "", measure(links, gold(test)))
            for what, which, measured in rows(model, folder):
                add(results, cell, model.settings.seed, what, which, measured)
        rundir.write_json(path, {"results": results})
    text = table(json.loads(path.read_text(encoding="utf-8"))["results"])
    (HERE / "aer.md").write_text(text, encoding="utf-8")
    print(text)


def add(results: list[dict[str, Any]], model: str, seed: int, what: str, which: str, measured: Measured) -> None:
    results.append({"model": model, "seed": seed, "what": what, "which": which} | measured._asdict())
    print(model, seed or "", what, which, f"{measured.aer:.3f}")


def table(results: list[dict[str, Any]]) -> str:
    """One row for each model and way of reading it; the interval is the first seed's, over sentences."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        grouped.setdefault((result["model"], result["what"]), []).append(result)
    head = ["", "read from", "seeds", "AER", "95% of seed 1", "precision", "recall"]
    lines = [head, ["---", "---"] + ["---:"] * (len(head) - 2)]
    for (model, what), trials in grouped.items():
        rates = [trial["aer"] for trial in trials]
        spread = f" ± {statistics.stdev(rates):.3f}" if len(rates) > 1 else ""
        which = sorted({trial["which"] for trial in trials})
        read = f"{what} ({'; '.join(which)})" if what.startswith("best") and which != ["layer 0, head 0"] else what
        low, high = trials[0]["interval"]
        precision, recall = (statistics.fmean(trial[value] for trial in trials) for value in ("precision", "recall"))
        lines.append(
            [
                model,
                "" if which == ["layer 0, head 0"] and what == "best" else read,
                ", ".join(str(trial["seed"]) for trial in trials if trial["seed"]),
                f"{statistics.fmean(rates):.3f}{spread}",
                f"[{low:.3f}, {high:.3f}]",
                f"{precision:.3f}",
                f"{recall:.3f}",
            ]
        )
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    tyro.cli(main)
