"""Alignment error rates on the Hansards of the NAACL 2003 shared task: python experiments/alignment/hansards_aer.py

Needs the runs of the study in hansards/. Both directions, and both made into one. Nothing is chosen on the test pairs
and there is no other set with links, so layers and heads are averaged. Writes hansards.md beside this file.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro
from ibm1 import Ibm1, diagonal

from transformer import api
from transformer.alignment import formats
from transformer.alignment.choose import all_links
from transformer.alignment.measure import Gold, Measured, measure
from transformer.alignment.symmetrize import SYMMETRIZATIONS
from transformer.alignment.words import Links, Rule
from transformer.data import corpus

HERE = Path(__file__).parent
MODELS = ("luong", "transformer")
FIRST_WORD = 1
"""Of a sentence, as the shared task's links count."""
PUBLISHED = {"fast_align (published)": 0.105}
"""Trained on the shared task's own 1.1 million pairs of Hansards (figure of awesome-align's repository)."""

Sentences = Sequence[str]


def turned(every: Sequence[Links]) -> list[Links]:
    return [frozenset((t, s) for s, t in links) for links in every]


def both_ways(there: Sequence[Links], back: Sequence[Links]) -> Iterator[tuple[str, list[Links]]]:
    """(direction, links) of either direction and of every way to join them; all links are (English, French)."""
    yield "en-fr", list(there)
    yield "fr-en", list(back)
    for how, combine in SYMMETRIZATIONS.items():
        yield how, [combine(*pair) for pair in zip(there, back, strict=True)]


def ibm1(train: tuple[Sentences, Sentences], test: tuple[Sentences, Sentences]) -> Iterator[tuple[str, list[Links]]]:
    """IBM Model 1 of the very text the models were trained on."""
    english, french = train
    there, back = Ibm1(english, french), Ibm1(french, english)
    pairs = list(zip(*test, strict=True))
    yield from both_ways([there.align(en, fr) for en, fr in pairs], turned([back.align(fr, en) for en, fr in pairs]))


def models(name: str, runs: Path, test: tuple[Sentences, Sentences], shift: int) -> Iterator[tuple[str, list[Links]]]:
    """A run of each direction, by the mean of all layers and heads."""
    rule = Rule(shift=shift)
    there = all_links(api.load(runs / f"{name}_en_fr-1").attend(*test), rule)
    back = all_links(api.load(runs / f"{name}_fr_en-1").attend(*test[::-1]), rule)
    yield from both_ways(there, turned(back))


def main(data: Path = Path("data"), runs: Path = Path("runs/hansards")) -> None:
    """Measure and print the table.

    Args:
        data: where hansards-en-fr is.
        runs: where text/ and the run directories are.
    """
    folder = data / "hansards-en-fr"
    english, french = (corpus.read_lines(folder / f"test.{language}.gz") for language in ("en", "fr"))
    gold = formats.read_gold(folder / "test.gold.gz", FIRST_WORD)
    test = (english, french)
    train = corpus.read_parallel(runs / "text" / "train.en", runs / "text" / "train.fr")
    lines = ["| | direction | AER | 95% | precision | recall |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    lines += [f"| {name} | grow-diag-final-and | {rate:.3f} | | | |" for name, rate in PUBLISHED.items()]
    straight = [diagonal(*pair) for pair in zip(*test, strict=True)]
    lines.append(row("the diagonal", "", measure(straight, gold)))
    lines += table("IBM Model 1", ibm1((train[0], train[1]), test), gold)
    for name in MODELS:
        lines += table(name, models(name, runs, test, 0), gold)
        lines += table(f"{name}, one step late", models(name, runs, test, 1), gold)
    text = "".join(line + "\n" for line in lines)
    (HERE / "hansards.md").write_text(text, encoding="utf-8")
    print(text)


def table(name: str, found: Iterator[tuple[str, list[Links]]], gold: Sequence[Gold]) -> list[str]:
    return [row(name, direction, measure(links, gold)) for direction, links in found]


def row(name: str, direction: str, measured: Measured) -> str:
    low, high = measured.interval or (0.0, 0.0)
    rates = f"{measured.aer:.3f} | [{low:.3f}, {high:.3f}] | {measured.precision:.3f} | {measured.recall:.3f}"
    return f"| {name} | {direction} | {rates} |"


if __name__ == "__main__":
    tyro.cli(main)
