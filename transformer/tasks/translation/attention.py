"""The attention of a translation model as a word aligner, measured against the links that come with a corpus."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from transformer.alignment.gold import Reference
from transformer.alignment.links import Rule
from transformer.alignment.measure import link_counts, measure
from transformer.alignment.record import Attended
from transformer.alignment.select import Open, all_links, name, rank
from transformer.data.corpora.corpus import Corpus
from transformer.tasks.task import Extras

ARGMAX = Open(thresholds=(None,))
"""For the error rates each target word is linked with the source word that it attends to most."""
Attend: TypeAlias = Callable[[Sequence[str], Sequence[str]], list[Attended | None]]
"""All attention weights of sentence pairs, by teacher forcing, and the read-out that is measured."""


def best_rule(attend: Attend, dev: Corpus, reference: Reference, by: str = "weights") -> Rule | None:
    """The layer and head of a read-out with the lowest error rate on a validation set; None if no pair can be
    aligned."""
    ranked = rank(attend(dev.sources, dev.targets), reference.links, Rule(by=by), ARGMAX._replace(by=(by,)))
    return ranked[0].rule if ranked else None


def error_rates(attend: Attend, part: Corpus, reference: Reference, rule: Rule) -> Extras:
    """Counts of the alignment error rate under a rule, and the rates of every layer and head."""
    attended = attend(part.sources, part.targets)

    def rate(layer: int | None, head: int | None) -> float:
        return measure(all_links(attended, Rule(layer, head, by=rule.by)), reference.links, bootstrap=0).aer

    layers, heads = _sizes(attended, rule.kind)
    links = all_links(attended, rule)
    report: dict[str, Any] = {
        **measure(links, reference.links)._asdict(),
        "against": reference.origin,
        "rule": name(rule),
        "heads": [[rate(layer, head) for head in range(heads)] for layer in range(layers)],
        "layers": [rate(layer, None) for layer in range(layers)],
        "mean": rate(None, None),
    }
    return Extras({"AER": link_counts(links, reference.links)}, {"alignment": report})


def _sizes(attended: Sequence[Attended | None], kind: str) -> tuple[int, int]:
    """Number of layers and of heads."""
    known = next((each for each in attended if each is not None), None)
    shape = (0, 0) if known is None else known.matrix(kind).shape
    return int(shape[0]), int(shape[1])
