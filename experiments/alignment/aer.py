"""Alignment error rates on the grammar: python experiments/alignment/aer.py [--report]

Needs the runs of the studies attention_variants (table `long`) and alignment. Which layer and head aligns, and from
which weight on, is chosen on the validation set. Writes aer.json and aer.md into this folder; --report makes the
table from the existing results.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from ibm1 import Ibm1, diagonal

from transformer import api
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Gold, Measured, all_sure, measure
from transformer.alignment.select import Open, all_links, name, rank
from transformer.api import TrainedModel
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.load import load_corpora
from transformer.data.normal_form import split_words
from transformer.storage.files import write_json
from transformer.storage.run import Run

HERE = Path(__file__).parent
MODELS = {
    "attention_variants": (
        "long_bahdanau",
        "long_luong_general_global",
        "long_luong_general_local_p",
        "long_transformer",
    ),
    "alignment": ("luong_general_guided", "transformer_guided"),
}
ARGMAX = Open(thresholds=(None,))
"""Thresholds that link each target word with the source word that it attends to most."""
SHIFTS = {"one step late": 1, "one step early": -1}
"""Tokens, for the same attention of the next or the previous step."""


def gold(part: Corpus) -> list[Gold]:
    assert part.alignments is not None
    return all_sure(part.alignments)


class Rates(NamedTuple):
    """For all links, and for those of all target words but the last, which is always the final punctuation."""

    every: Measured
    before_last: Measured


def rates(found: Sequence[Links | None], part: Corpus) -> Rates:
    last = [len(split_words(target)) - 1 for target in part.targets]

    def cut(every: Iterable[Links]) -> list[Links]:
        return [frozenset((s, t) for s, t in links if t != place) for links, place in zip(every, last, strict=True)]

    true = gold(part)
    if None in found:
        raise ValueError("a pair cannot be aligned: the run must be of a model that is long enough")
    aligned = [links for links in found if links is not None]
    return Rates(measure(aligned, true), measure(cut(aligned), all_sure(cut(one.sure for one in true))))


def baselines(settings: Any, test: Corpus) -> Iterator[tuple[str, list[Links]]]:
    """The diagonal, IBM Model 1 of the models' own training pairs, and the best possible result with one link per
    word."""
    yield "the diagonal", [diagonal(*pair) for pair in zip(test.sources, test.targets, strict=True)]
    train = load_corpora(settings.data).train
    model = Ibm1(train.sources, train.targets)
    yield "IBM Model 1", [model.align(*pair) for pair in zip(test.sources, test.targets, strict=True)]
    yield (
        "gold, one link for every target word",
        [one_each(*pair) for pair in zip(gold(test), test.targets, strict=True)],
    )


def one_each(true: Gold, target: str) -> Links:
    """A true link of every target word, and some link of those that have none."""
    source_of = {t: s for s, t in sorted(true.sure, reverse=True)}
    return frozenset((source_of.get(t, 0), t) for t in range(len(split_words(target))))


def rows(model: TrainedModel, folder: Path) -> Iterator[tuple[str, str, Rates]]:
    """(what, by which rule, error rates) of one run: the best on validation, means, and one step off."""
    languages = model.settings.data.languages
    dev, test = (corpus.read(Run(folder).data, part, languages) for part in ("validation", "test"))
    on_dev, on_test = (model.attend(part.sources, part.targets) for part in (dev, test))
    ranked = rank(on_dev, gold(dev), Rule(), ARGMAX)
    means = [choice.rule for choice in ranked if choice.rule.head is None] if len(ranked) > 1 else []
    chosen = {
        "best": ranked[0].rule,
        "best, any threshold": rank(on_dev, gold(dev), Rule())[0].rule,
        **{name(rule): rule for rule in sorted(means, key=lambda rule: (rule.layer is None, rule.layer or 0))},
        **{
            f"best, {when}": rank(on_dev, gold(dev), Rule(shift=shift), ARGMAX)[0].rule
            for when, shift in SHIFTS.items()
        },
    }
    for what, rule in chosen.items():
        yield what, name(dataclasses.replace(rule, shift=0)), rates(all_links(on_test, rule), test)


def main(runs: Path = Path("runs"), report: bool = False) -> None:
    """Measure every existing run of the two studies.

    Args:
        runs: where run directories are.
        report: measure nothing.
    """
    path = HERE / "aer.json"
    if not report:
        results: list[dict[str, Any]] = []
        folders = [
            (variant, folder)
            for study, variants in MODELS.items()
            for variant in variants
            for folder in sorted((runs / study).glob(f"{variant}-[0-9]*"))
        ]
        for number, (variant, folder) in enumerate(folders):
            model = api.load(folder)
            if number == 0:
                test = corpus.read(Run(folder).data, "test", model.settings.data.languages)
                for what, links in baselines(model.settings, test):
                    add(results, what, 0, "", "", rates(links, test))
            for what, which, found in rows(model, folder):
                add(results, variant.removeprefix("long_"), model.settings.seed, what, which, found)
        write_json(path, {"results": results})
    text = table(json.loads(path.read_text(encoding="utf-8"))["results"])
    (HERE / "aer.md").write_text(text, encoding="utf-8")
    print(text)


def add(results: list[dict[str, Any]], model: str, seed: int, what: str, which: str, found: Rates) -> None:
    about = {"model": model, "seed": seed, "what": what, "which": which, "before_last": found.before_last.aer}
    results.append(about | found.every._asdict())
    print(model, seed or "", what, which, f"{found.every.aer:.3f}")


def table(results: list[dict[str, Any]]) -> str:
    """One row for each model and way of reading it; the interval is the first seed's, over sentences."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        grouped.setdefault((result["model"], result["what"]), []).append(result)
    head = ["", "read from", "seeds", "AER", "95% of seed 1", "precision", "recall", "AER but last word"]
    lines = [head, ["---", "---"] + ["---:"] * (len(head) - 2)]
    for (model, what), trials in grouped.items():
        aers = [trial["aer"] for trial in trials]
        spread = f" ± {statistics.stdev(aers):.3f}" if len(aers) > 1 else ""
        which = sorted({trial["which"] for trial in trials})
        read = f"{what} ({'; '.join(which)})" if what.startswith("best") and which != ["layer 0, head 0"] else what
        low, high = trials[0]["interval"]
        values = ("precision", "recall", "before_last")
        means = [statistics.fmean(trial[value] for trial in trials) for value in values]
        lines.append(
            [
                model,
                "" if which == ["layer 0, head 0"] and what == "best" else read,
                ", ".join(str(trial["seed"]) for trial in trials if trial["seed"]),
                f"{statistics.fmean(aers):.3f}{spread}",
                f"[{low:.3f}, {high:.3f}]",
                *(f"{mean:.3f}" for mean in means),
            ]
        )
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    tyro.cli(main)
