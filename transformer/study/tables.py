"""A study's results as tables, in Markdown and in LaTeX; they depend on nothing but the results."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from transformer.study.compared import (
    Cells,
    Compared,
    Spread,
    Trials,
    bins,
    by_length,
    score,
    with_baseline,
)
from transformer.study.statistics import LEVEL, RESAMPLES

DIGITS = {"BLEU": 1, "chrF2": 1, "perplexity": 2, "AER": 3}
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
}
"""Characters that LaTeX takes for its own, or does not have."""


class Table(NamedTuple):
    """Text in rows; the first column names them."""

    head: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """For READMEs; the notes below it."""
        lines = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *self.rows]
        text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        return text + "".join(f"\n{note}\n" for note in self.notes)

    def latex(self, caption: str, label: str) -> str:
        """A floating table; needs the package booktabs. The notes go into the caption."""
        rows = [" & ".join(map(escape, row)) + r" \\" for row in self.rows]
        head = " & ".join(map(escape, self.head)) + r" \\"
        body = "\n".join([r"\toprule", head, r"\midrule", *rows, r"\bottomrule"])
        told = " ".join(escape(text) for text in (caption, *self.notes))
        columns = "l" + "r" * (len(self.head) - 1)
        return (
            f"\\begin{{table}}\n\\centering\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"
            f"\\caption{{{told}}}\n\\label{{{label}}}\n\\end{{table}}\n"
        )


def escape(text: str) -> str:
    """As LaTeX prints it letter by letter."""
    return "".join(LATEX.get(character, character) for character in text)


def main(cells: Cells, baseline: str, metric: str, missing: Sequence[str]) -> Table:
    """What each cell reached, and whether it differs from the baseline.

    Args:
        cells: results of one table.
        baseline: one of the cells; "" for none.
        metric: what is compared, BLEU or AER.
        missing: trials without a result, to be named.
    """
    compared = with_baseline(cells, baseline, metric)
    unseen = any("unseen" in trial for trials in cells.values() for trial in trials)
    columns: dict[str, Callable[[str, Trials], str]] = {
        "seeds": lambda n, t: ", ".join(str(trial["seed"]) for trial in t),
        "parameters": lambda n, t: f"{t[0]['parameters']:,}",
        "updates": lambda n, t: f"{_mean(t, 'updates'):,.0f}",
        "tokens/s": lambda n, t: _speed(t),
        "minutes": lambda n, t: f"{_mean(t, 'minutes'):.1f}",
        "perplexity": lambda n, t: _score(t, "perplexity"),
        "BLEU": lambda n, t: _score(t, "BLEU"),
        **({"unseen": lambda n, t: _score(t, "BLEU", "unseen")} if unseen else {}),
        "chrF": lambda n, t: _score(t, "chrF2"),
        "AER": lambda n, t: _score(t, "AER"),
        f"{metric} − {baseline}": lambda n, t: "baseline" if n == baseline else _difference(compared.get(n), metric),
        "p": lambda n, t: _p(compared.get(n)),
        "tested over": lambda n, t: compared[n].difference.over if n in compared else "",
    }
    if baseline not in cells or len(cells) < 2:
        columns = dict(list(columns.items())[:-3])
    texts = {head: [column(*item) for item in cells.items()] for head, column in columns.items()}
    kept = {head: column for head, column in texts.items() if any(column)}
    rows = [[name, *(column[row] for column in kept.values())] for row, name in enumerate(cells)]
    return Table(["", *kept], rows, tuple(_notes(cells, baseline, compared, missing)))


def lengths(cells: Cells) -> Table:
    """BLEU of each bin of source lengths, and how many sentences are in it."""
    there = bins(cells)
    found = {name: by_length(trials) for name, trials in cells.items()}
    rows = [[name, *(_spread(of.get(b), 1) for b in there)] for name, of in found.items()]
    known = {row["words"]: row.get("sentences") for row in next(iter(cells.values()))[0]["test"]["by_length"]}
    sentences = ["sentences", *(f"{known.get(b) or ''}" for b in there)]
    return Table(["", *there], [*[sentences] * any(sentences[1:]), *rows])


def heads(trials: Trials) -> Table | None:
    """Error rate of each layer and head of a cell's first seed; None where there is one head alone, or nothing known.

    Heads of two seeds have nothing in common but a number, so there is no mean of them.
    """
    known = [trial["test"]["alignment"] for trial in trials if "heads" in trial["test"].get("alignment", {})]
    if not known or len(known[0]["heads"]) * len(known[0]["heads"][0]) < 2:
        return None
    every, means = known[0]["heads"], known[0]["layers"]
    head = ["", *(f"head {number}" for number in range(len(every[0]))), "mean of heads"]
    rows = [
        [f"layer {layer}", *(f"{value:.3f}" for value in (*values, mean))]
        for layer, (values, mean) in enumerate(zip(every, means, strict=True))
    ]
    return Table(head, rows, (f"The mean of all layers and heads: {known[0]['mean']:.3f}.",))


def _notes(cells: Cells, baseline: str, compared: Mapping[str, Compared], missing: Sequence[str]) -> list[str]:
    seeds = {len(trials) for trials in cells.values()}
    told = ["Several seeds: mean ± standard deviation."] * (max(seeds) > 1)
    told += ["One seed: 95% interval over sentences."] * (1 in seeds)
    notes = [" ".join(told)]
    if baseline in cells and len(cells) > 1:
        how = {
            "sentences, seeds": f"{RESAMPLES:,} resamples of sentences and, within them, of seeds (of three seeds p is "
            "somewhat too small: `statistics.resampled` says by how much)",
            "sentences": f"{RESAMPLES:,} resamples of sentences alone (paired bootstrap), where a cell has one seed",
            "seeds": "Welch's t-test over seeds alone, where results keep nothing of their sentences",
        }
        used = {each.difference.over for each in compared.values()}
        told = [text for over, text in how.items() if over in used]
        if told:
            notes.append(
                f"Differences from {baseline} with 95% intervals, by {'; '.join(told)}. p after Holm's correction for "
                f"{len(compared)} comparison(s); n.s.: not significant at {LEVEL}."
            )
        untested = [name for name in cells if name != baseline and name not in compared]
        if untested:
            notes.append(
                f"Not tested against {baseline}: {', '.join(untested)} (one seed and nothing kept of its sentences, or "
                "another test set)."
            )
    notes += _budgets(cells)
    studies = Counter(trial["from"].split("/")[0] for trials in cells.values() for trial in trials if "from" in trial)
    notes += [
        f"{n} run(s) are those of {study}, where the same settings stand." for study, n in sorted(studies.items())
    ]
    if missing:
        notes.append(f"Not yet run: {', '.join(missing)}.")
    return notes


def _budgets(cells: Cells) -> list[str]:
    """A note where they differ."""
    found: dict[str, list[str]] = {}
    for name, trials in cells.items():
        asked = trials[0]["config"]
        if "training" in asked:
            budget = f"{asked['training']['steps']:,} updates of {asked['batching']['tokens']:,} tokens"
            found.setdefault(budget, []).append(name)
    told = [f"{budget} ({', '.join(names)})" for budget, names in found.items()]
    return [f"Budgets differ: {'; '.join(told)}."] if len(told) > 1 else []


def _mean(trials: Trials, key: str) -> float:
    return statistics.fmean(trial[key] for trial in trials)


def _speed(trials: Trials) -> str:
    known = [trial["tokens_per_s"] for trial in trials if trial.get("tokens_per_s") is not None]
    return f"{statistics.fmean(known):,.0f}" if known else ""


def _score(trials: Trials, metric: str, part: str = "test") -> str:
    return _spread(score(trials, metric, part), DIGITS[metric])


def _spread(found: Spread | None, digits: int) -> str:
    if found is None:
        return ""
    if found.deviation is not None:
        return f"{found.mean:.{digits}f} ± {found.deviation:.{digits}f}"
    if found.interval is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"


def _difference(found: Compared | None, metric: str) -> str:
    if found is None:
        return ""
    digits = DIGITS[metric]
    value, (low, high) = found.difference.value, found.difference.interval
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]".replace("-", "−")


def _p(found: Compared | None) -> str:
    if found is None:
        return ""
    return ("<0.001" if found.p < 0.001 else f"{found.p:.3f}") + ("" if found.significant else " n.s.")
