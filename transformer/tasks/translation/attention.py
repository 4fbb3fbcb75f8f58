"""The attention of a translation model as a word aligner, measured against a corpus's gold links."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from transformer.alignment.links import Rule
from transformer.alignment.measure import all_sure, link_counts, measure
from transformer.alignment.record import Attended
from transformer.alignment.select import all_links, name, rank
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.tasks.task import Extras

ARGMAX = (None,)
"""Thresholds of the error rates: each target word is linked with the source word that it attends to most."""
Attend: TypeAlias = Callable[[Sequence[str], Sequence[str]], list[Attended | None]]
"""All attention weights of sentence pairs, by teacher forcing."""


def has_links(data: Path, split: str) -> bool:
    """Whether a split of a run's data has gold links."""
    return (data / f"{split}.align").is_file()


def best_rule(attend: Attend, data: Path, languages: tuple[str, str]) -> Rule | None:
    """The layer and head with the lowest error rate on the validation set; None without gold links."""
    if not has_links(data, "validation"):
        return None
    dev = corpus.read(data, "validation", languages)
    ranked = rank(attend(dev.sources, dev.targets), all_sure(dev.alignments or []), Rule(), ARGMAX)
    return ranked[0].rule if ranked else None


def error_rates(attend: Attend, part: Corpus, rule: Rule) -> Extras:
    """Counts of the alignment error rate under a rule, and the rates of every layer and head."""
    attended = attend(part.sources, part.targets)
    gold = all_sure(part.alignments or [])

    def rate(layer: int | None, head: int | None) -> float:
        return measure(all_links(attended, Rule(layer, head)), gold, bootstrap=0).aer

    layers, heads = _sizes(attended)
    links = all_links(attended, rule)
    report: dict[str, Any] = {
        **measure(links, gold)._asdict(),
        "rule": name(rule),
        "heads": [[rate(layer, head) for head in range(heads)] for layer in range(layers)],
        "layers": [rate(layer, None) for layer in range(layers)],
        "mean": rate(None, None),
    }
    return Extras({"AER": link_counts(links, gold)}, {"alignment": report})


def _sizes(attended: Sequence[Attended | None]) -> tuple[int, int]:
    """Number of layers and of heads."""
    known = next((each for each in attended if each is not None), None)
    shape = (0, 0) if known is None else known.matrix("cross").shape
    return int(shape[0]), int(shape[1])
