"""Alignment error rates of every read-out and of dedicated aligners on the Hansards: python -m
experiments.hansards.readouts

Needs the text that text.py makes and the runs of the study (README.md has the commands). For each read-out and
direction the layer, head, shift, threshold and rule from pieces to words are chosen on the trial pairs; the test pairs
are measured once, with what was chosen (`--part test`). Adds to readouts.json and writes readouts.md next to this file.
"""

import json
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import tyro

from experiments.alignment.ibm1 import Ibm1, diagonal
from transformer import api
from transformer.alignment.formats import read_gold
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Gold, measure
from transformer.alignment.select import EVERYTHING, all_links, name, rank
from transformer.alignment.symmetrize import SYMMETRIZATIONS, symmetrize, transpose
from transformer.data.corpora.alignments import read_alignments
from transformer.data.corpora.files import read_parallel
from transformer.storage.files import write_json

HERE = Path(__file__).parent
ENGLISH, FRENCH = "en", "fr"
FIRST_WORD = 1
"""Of a sentence, as the shared task's links count."""
LENGTHS = (10, 20, 30)
"""Groups of sentences: up to so many words of the longer side, and longer ones."""
READOUTS = ("weights", "head-norms", "norms", "alti", "rollout", "log-omission", "log-erasure", "omission", "erasure",
            "gradient", "smoothgrad", "integrated")  # fmt: skip
"""The fast ones first: each is saved when it is measured."""
MIXED = ("alti", "rollout")
"""Not defined if a part is recurrent."""

Links2: TypeAlias = list[Links | None]
Part = Literal["trial", "test"]


class Pairs(NamedTuple):
    """Sentence pairs with manual links."""

    english: list[str]
    french: list[str]
    gold: list[Gold]

    @classmethod
    def read(cls, data: Path, text: Path, part: Part) -> "Pairs":
        """A set of the shared task."""
        english, french = read_parallel(text / f"{part}.{ENGLISH}", text / f"{part}.{FRENCH}")
        return cls(english, french, read_gold(data / f"{part}.gold.gz", FIRST_WORD))


def both_ways(there: Links2, back: Links2) -> Iterator[tuple[str, Links2]]:
    """(direction, links) of each direction and of every symmetrization; all links are (English, French)."""
    yield "en-fr", there
    yield "fr-en", back
    for how in SYMMETRIZATIONS:
        yield how, symmetrize(how, there, back)


def rows(about: dict[str, Any], there: Links2, back: Links2, pairs: Pairs) -> list[dict[str, Any]]:
    """The error rates of an aligner in each direction and symmetrized, overall and by sentence length."""
    longest = [max(len(e.split()), len(f.split())) for e, f in zip(pairs.english, pairs.french, strict=True)]
    groups = list(zip((0, *LENGTHS), (*LENGTHS, 10_000), strict=True))
    found = []
    for direction, links in both_ways(there, back):
        by_length = {}
        for above, most in groups:
            inside = [n for n, length in enumerate(longest) if above < length <= most]
            if inside:
                measured = measure([links[n] for n in inside], [pairs.gold[n] for n in inside])
                by_length[f"{above + 1}-{most}" if most < 10_000 else f"over {above}"] = measured._asdict()
        found.append(about | {"direction": direction} | measure(links, pairs.gold)._asdict() | {"by_length": by_length})
    return found


def baselines(text: Path, pairs: Pairs) -> Iterator[list[dict[str, Any]]]:
    """The diagonal, IBM Model 1 and eflomal, both trained on the models' text."""
    straight: Links2 = [diagonal(*pair) for pair in zip(pairs.english, pairs.french, strict=True)]
    yield rows({"model": "the diagonal"}, straight, straight, pairs)[:1]
    english, french = read_parallel(text / f"train.{ENGLISH}", text / f"train.{FRENCH}")
    yield rows({"model": "eflomal"}, *eflomal(english, french, pairs), pairs)
    there, back = Ibm1(english, french), Ibm1(french, english)
    sentences = list(zip(pairs.english, pairs.french, strict=True))
    yield rows(
        {"model": "IBM Model 1"},
        [there.align(en, fr) for en, fr in sentences],
        transpose([back.align(fr, en) for en, fr in sentences]),
        pairs,
    )


def eflomal(english: Sequence[str], french: Sequence[str], pairs: Pairs) -> tuple[Links2, Links2]:
    """Both directions of eflomal (Östling and Tiedemann 2016) with its default settings.

    The pairs to align are part of the text it is trained on, as is usual for such aligners.

    Raises RuntimeError where its command is not installed.
    """
    command = shutil.which("eflomal-align")
    if command is None:
        raise RuntimeError("eflomal-align is not installed: pip install eflomal, in this or another environment")
    with tempfile.TemporaryDirectory() as folder:
        text, there, back = (Path(folder) / name for name in ("text", "there", "back"))
        every = zip([*pairs.english, *english], [*pairs.french, *french], strict=True)
        text.write_text("".join(f"{en} ||| {fr}\n" for en, fr in every), encoding="utf-8")
        subprocess.run([command, "-i", text, "-f", there, "-r", back], check=True)
        count = len(pairs.english) + len(english)
        ours: list[Links2] = [
            [frozenset(links) for links in read_alignments(path, count)[: len(pairs.english)]] for path in (there, back)
        ]
    return ours[0], ours[1]


def model(
    runs: Path, family: str, checkpoint: str, names: Sequence[str], trial: Pairs, pairs: Pairs
) -> Iterator[list[dict[str, Any]]]:
    """Read-outs of the two runs of a family."""
    ahead, back = (api.load(runs / f"{family}_{way}-1", checkpoint) for way in ("en_fr", "fr_en"))
    exchanged = [Gold(*(transpose([links])[0] for links in gold)) for gold in trial.gold]
    for by in names:
        there = chosen(ahead, by, (trial.english, trial.french), trial.gold, (pairs.english, pairs.french))
        here = chosen(back, by, (trial.french, trial.english), exchanged, (pairs.french, pairs.english))
        about = {"model": family, "by": by, "chosen": [there.how, here.how], "on_trial": [there.aer, here.aer]}
        yield rows(about, there.links, transpose(here.links), pairs)


class Chosen(NamedTuple):
    """Links by the rule that was best on the trial pairs."""

    how: str
    aer: float
    """On the trial pairs, of this direction."""
    links: Links2


def chosen(
    run: api.TrainedModel, by: str, trial: tuple[list[str], list[str]], gold: Sequence[Gold], pairs: Any
) -> Chosen:
    """The links of a read-out by the rule that is best on the trial pairs."""
    best = rank(run.attend(*trial, by=[by]), gold, Rule(by=by), EVERYTHING._replace(by=(by,)))[0]
    return Chosen(name(best.rule), best.measured.aer, all_links(run.attend(*pairs, by=[by]), best.rule))


def table(results: Sequence[dict[str, Any]]) -> str:
    """A row for each aligner: error rates of both directions and of two symmetrizations."""
    directions = ("en-fr", "fr-en", "grow-diag", "grow-diag-final-and")
    lines = [
        ["model", "read-out", *directions[:3], f"{directions[3]} (95%)", "chosen en-fr", "chosen fr-en"],
        ["---", "---", "---:", "---:", "---:", "---:", "---", "---"],
    ]
    grouped: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for result in results:
        grouped.setdefault((result["model"], result.get("by", "")), {})[result["direction"]] = result
    for (who, by), found in grouped.items():
        rates = [f"{found[way]['aer']:.3f}" if way in found else "" for way in directions]
        if directions[3] in found:
            low, high = found[directions[3]]["interval"]
            rates[3] += f" [{low:.3f}, {high:.3f}]"
        lines.append([who, by, *rates, *next(iter(found.values())).get("chosen", ["", ""])])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """The error rate of each aligner by grow-diag-final-and, with its interval."""
    from matplotlib.figure import Figure

    shown = [each for each in results if each["direction"] == "grow-diag-final-and"]
    shown.sort(key=lambda each: -each["aer"])
    figure = Figure(figsize=(6, 0.3 * len(shown) + 0.8), layout="constrained")
    axes = figure.subplots()
    for row, each in enumerate(shown):
        low, high = each["interval"]
        axes.plot([low, high], [row, row], color="0.5", lw=1.2)
        axes.plot(each["aer"], row, "o", ms=5, color="#0072B2" if "by" in each else "#D55E00")
        axes.annotate(f"{each['aer']:.3f}", (high, row), (5, -3), textcoords="offset points", fontsize=7)
    axes.set_yticks(
        range(len(shown)), [f"{each['model']}: {each['by']}" if "by" in each else each["model"] for each in shown]
    )
    axes.set(xlabel="AER, grow-diag-final-and, 447 pairs, with 95% intervals", xlim=(0, 0.7))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.9")
    figure.savefig(path, metadata={"Date": None})


def main(
    data: Path = Path("data/hansards-en-fr"),
    text: Path = Path("runs/hansards/text"),
    runs: Path = Path("runs/hansards"),
    families: tuple[str, ...] = ("transformer",),
    checkpoint: str = "auto",
    by: tuple[str, ...] = READOUTS,
    part: Part = "trial",
    aligners: bool = True,
) -> None:
    """Measure and print the table.

    Args:
        data: the links.
        text: the text that text.py made.
        runs: of the study.
        families: variants of the study, without the direction.
        checkpoint: of each run.
        by: read-outs.
        part: what is measured; the trial pairs, while anything is still decided.
        aligners: measure the aligners too.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trial, pairs = (Pairs.read(data, text, each) for each in ("trial", part))
    path = HERE / "readouts.json" if part == "test" else runs / "readouts-trial.json"
    results: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []

    def add(found: list[dict[str, Any]]) -> None:
        """Replaces earlier results of the same aligner; saved at once, because the whole takes an hour."""
        nonlocal results
        own = found[0]["model"], found[0].get("by")
        results = [each for each in results if (each["model"], each.get("by")) != own] + found
        write_json(path, {"results": results})
        print(*own, *(f"{each['direction']} {each['aer']:.3f}" for each in found), flush=True)

    if aligners:
        for found in baselines(text, pairs):
            add(found)
    for family in families:
        names = [name for name in by if family.startswith("transformer") or name not in MIXED]
        for found in model(runs, family, checkpoint, names, trial, pairs):
            add(found)
    path.with_suffix(".md").write_text(table(results), encoding="utf-8")
    draw(results, path.with_suffix(".svg"))
    print(table(results))


if __name__ == "__main__":
    tyro.cli(main)
