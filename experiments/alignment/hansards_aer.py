"""Alignment error rates on the Hansards of the NAACL 2003 shared task: python experiments/alignment/hansards_aer.py

Needs the runs of the study in hansards/. Both directions, and both made into one. Nothing is chosen on the test pairs,
and there is no other set with links: layers are averaged, or those taken by which both directions agree most on pairs
of Tatoeba's dev set (Chen 2020, "Accurate Word Alignment Induction from Neural Machine Translation"). Writes
hansards.md beside this file.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

import tyro
from ibm1 import Ibm1, diagonal

from transformer import api
from transformer.alignment import formats
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Measured, all_sure, measure
from transformer.alignment.record import Attended
from transformer.alignment.select import all_links
from transformer.alignment.symmetrize import SYMMETRIZATIONS, symmetrize, transpose
from transformer.data.corpora.files import read_lines, read_parallel

HERE = Path(__file__).parent
LANGUAGES = ("en", "fr")
AGREEING = 500
"""Pairs of the dev set."""
FIRST_WORD = 1
"""Of a sentence, as the shared task's links count."""
PUBLISHED = {"grow-diag": 0.105, "grow-diag-final": 0.121}
"""fast_align by how both directions are joined, trained on the shared task's own 1.1 million pairs of Hansards (figures
of the repository lilt/alignment-scripts)."""

Pairs: TypeAlias = Sequence[Sequence[str]]
"""Two sides."""


def both_ways(there: Sequence[Links | None], back: Sequence[Links | None]) -> Iterator[tuple[str, list[Links | None]]]:
    """(direction, links) of either direction and of every way to join them; all links are (English, French)."""
    yield "en-fr", list(there)
    yield "fr-en", list(back)
    for how in SYMMETRIZATIONS:
        yield how, symmetrize(how, there, back)


def ibm1(train: Pairs, test: Pairs) -> Iterator[tuple[str, list[Links | None]]]:
    """IBM Model 1 of the very text the models were trained on."""
    english, french = train
    there, back = Ibm1(english, french), Ibm1(french, english)
    pairs = list(zip(*test, strict=True))
    yield from both_ways([there.align(en, fr) for en, fr in pairs], transpose([back.align(fr, en) for en, fr in pairs]))


def transformers(runs: Path, dev: Pairs, test: Pairs) -> Iterator[tuple[str, str, list[Links | None]]]:
    """(how it was read, direction, links) of the run of each direction."""
    ahead, back = (api.load(runs / f"transformer_{way}-1") for way in ("en_fr", "fr_en"))
    (one, other), (english, french) = dev, test
    chosen = agreed(ahead.attend(one, other), back.attend(other, one))
    there, here = ahead.attend(english, french), back.attend(french, english)
    ways = {"mean of layers and heads": (Rule(), Rule())}
    if chosen != ways["mean of layers and heads"]:
        layers = " and ".join("the mean" if rule.layer is None else str(rule.layer) for rule in chosen)
        ways[f"layers that agree: {layers}"] = chosen
    ways["mean, one step late"] = (Rule(shift=1), Rule(shift=1))
    for how, (rule, backward) in ways.items():
        for direction, links in both_ways(all_links(there, rule), transpose(all_links(here, backward))):
            yield f"transformer, {how}", direction, links


def agreed(ahead: Sequence[Attended | None], back: Sequence[Attended | None]) -> tuple[Rule, Rule]:
    """The layers (means of their heads) whose links in both directions are alike most."""
    layers = next(one for one in ahead if one is not None).matrix("cross").shape[0]
    rules = [Rule(), *(Rule(layer=layer) for layer in range(layers if layers > 1 else 0))]
    there = {rule: all_links(ahead, rule) for rule in rules}
    here = {rule: all_sure(links or () for links in transpose(all_links(back, rule))) for rule in rules}

    def apart(pair: tuple[Rule, Rule]) -> float:
        return measure(there[pair[0]], here[pair[1]], bootstrap=0).aer

    return min(product(rules, rules), key=apart)


def main(data: Path = Path("data"), runs: Path = Path("runs/hansards")) -> None:
    """Measure and print the table.

    Args:
        data: where hansards-en-fr is.
        runs: where text/ and the run directories are.
    """
    folder, text = data / "hansards-en-fr", runs / "text"
    test: Pairs = tuple(read_lines(folder / f"test.{language}.gz") for language in LANGUAGES)
    train, dev = (read_parallel(*(text / f"{part}.{of}" for of in LANGUAGES)) for part in ("train", "dev"))
    gold = formats.read_gold(folder / "test.gold.gz", FIRST_WORD)
    lines = ["| | direction | AER | 95% | precision | recall |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    lines += [f"| fast_align (published) | {how} | {rate:.3f} | | | |" for how, rate in PUBLISHED.items()]
    straight = [diagonal(*pair) for pair in zip(*test, strict=True)]
    lines.append(row("the diagonal", "", measure(straight, gold)))
    lines += [row("IBM Model 1", way, measure(links, gold)) for way, links in ibm1(train, test)]
    found = transformers(runs, [side[:AGREEING] for side in dev], test)
    lines += [row(what, way, measure(links, gold)) for what, way, links in found]
    table = "".join(line + "\n" for line in lines)
    (HERE / "hansards.md").write_text(table, encoding="utf-8")
    print(table)


def row(name: str, direction: str, measured: Measured) -> str:
    low, high = measured.interval or (0.0, 0.0)
    rates = f"{measured.aer:.3f} | [{low:.3f}, {high:.3f}] | {measured.precision:.3f} | {measured.recall:.3f}"
    return f"| {name} | {direction} | {rates} |"


if __name__ == "__main__":
    tyro.cli(main)
