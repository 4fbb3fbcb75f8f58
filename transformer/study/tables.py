"""A study's results as tables, in Markdown and in LaTeX. They depend only on the results."""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from transformer.evaluation.measures import Measure
from transformer.evaluation.significance import LEVEL, RESAMPLES, p_text
from transformer.plurals import counted
from transformer.study.comparisons import (
    ByVariant,
    Comparison,
    Spread,
    Trials,
    bins,
    by_length,
    in_pairs,
    score,
    with_baseline,
)
from transformer.study.results import SPEED, sets
from transformer.study.variants import Pair

UNTESTED = "one seed without counts of sentences, no gold links, or a different test set"
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "≤": r"$\le$",
}
"""Characters that are special in LaTeX, or missing."""


class Table(NamedTuple):
    """Rows of text; the first column names them."""

    head: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """With its notes below it."""
        lines = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *self.rows]
        text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        return text + "".join(f"\n{note}\n" for note in self.notes)

    def latex(self, caption: str, label: str) -> str:
        """A floating table, shrunk to the width of the page; it needs the packages booktabs and adjustbox. The caption
        includes the notes."""
        rows = [" & ".join(map(escape, row)) + r" \\" for row in self.rows]
        head = " & ".join(map(escape, self.head)) + r" \\"
        body = "\n".join([r"\toprule", head, r"\midrule", *rows, r"\bottomrule"])
        text = " ".join(escape(part) for part in (caption, *self.notes))
        columns = "l" + "r" * (len(self.head) - 1)
        return (
            "\\begin{table}\n\\centering\n\\begin{adjustbox}{max width=\\linewidth}\n"
            f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n\\end{{adjustbox}}\n"
            f"\\caption{{{text}}}\n\\label{{{label}}}\n\\end{{table}}\n"
        )


def escape(text: str) -> str:
    """LaTeX that prints this text."""
    return "".join(LATEX.get(character, character) for character in text)


def main(
    variants: ByVariant, baseline: str, metric: str, measures: Mapping[str, Measure], missing: Sequence[str]
) -> Table:
    """The scores of each variant, and its difference from the baseline.

    Args:
        variants: results of one table.
        baseline: one of the variants; "" for none.
        metric: the measure that is compared.
        measures: of the task, the one that decides first; it is also shown for further test sets.
        missing: names of trials without a result, for a note.
    """
    compared = with_baseline(variants, baseline, metric, measures)
    first, *others = measures
    unit = _unit(variants)
    further = dict.fromkeys(name for trials in variants.values() for trial in trials for name in sets(trial)[1:])

    def column(name: str, part: str = "test") -> Callable[[str, Trials], str]:
        return lambda _, trials: _score(trials, name, measures[name], part)

    columns: dict[str, Callable[[str, Trials], str]] = {
        "seeds": lambda n, t: ", ".join(str(trial["seed"]) for trial in t),
        "parameters": lambda n, t: f"{t[0]['parameters']:,}",
        "updates": lambda n, t: f"{_mean(t, 'updates'):,.0f}",
        f"{unit}/s": lambda n, t: _speed(t, unit),
        "minutes": lambda n, t: f"{_mean(t, 'minutes'):.1f}",
        "perplexity": lambda n, t: _score(t, "perplexity", None),
        measures[first].column or first: column(first),
        **{part: column(first, part) for part in further},
        **{measures[name].column or name: column(name) for name in others},
        f"{metric} − {baseline}": lambda n, t: (
            "baseline" if n == baseline else difference(compared.get(n), measures[metric].digits)
        ),
        "p": lambda n, t: significance(compared.get(n)),
        "tested over": lambda n, t: compared[n].difference.over if n in compared else "",
    }
    if baseline not in variants or len(variants) < 2:
        columns = dict(list(columns.items())[:-3])
    texts = {head: [text(*item) for item in variants.items()] for head, text in columns.items()}
    shown = {head: cells for head, cells in texts.items() if any(cells)}
    rows = [[name, *(cells[row] for cells in shown.values())] for row, name in enumerate(variants)]
    return Table(["", *shown], rows, tuple(_notes(variants, baseline, compared, missing)))


def pairs(variants: ByVariant, wanted: Sequence[Pair], measures: Mapping[str, Measure]) -> Table | None:
    """Further differences, corrected for all of them; None if none are requested."""
    if not wanted:
        return None
    first = next(iter(measures))
    names = {pair: str(pair._replace(metric="") if pair.metric == first else pair) for pair in wanted}
    compared = in_pairs(variants, wanted, measures)
    rows = [
        [
            names[pair],
            difference(found, measures[pair.metric or first].digits),
            significance(found),
            found.difference.over,
        ]
        for pair, found in compared.items()
    ]
    notes = _about_tests("Pairs", list(compared.values()))
    untested = [names[pair] for pair in wanted if pair not in compared]
    notes += [f"Not tested: {'; '.join(untested)} ({UNTESTED})."] * bool(untested)
    return Table(["", "difference", "p", "tested over"], rows, tuple(notes))


def lengths(variants: ByVariant) -> Table | None:
    """BLEU of each bin of source lengths, and its number of sentences; None if results have none."""
    every = bins(variants)
    if not every:
        return None
    found = {name: by_length(trials) for name, trials in variants.items()}
    rows = [[name, *(_spread(each.get(words), 1) for words in every)] for name, each in found.items()]
    first = next(iter(variants.values()))[0]["test"].get("by_length", ())
    counts = {row["words"]: row.get("sentences") for row in first}
    sentences = ["sentences", *(f"{counts.get(words) or ''}" for words in every)]
    return Table(["", *every], [*[sentences] * any(sentences[1:]), *rows])


def heads(trials: Trials) -> tuple[int, Table] | None:
    """A variant's first seed with error rates of heads, and a table of them; None if it has one head, or none is known.

    There is no mean over seeds, because heads of different seeds correspond only by number.
    """
    known = [trial for trial in trials if trial["test"].get("alignment", {}).get("heads")]
    aligned = known[0]["test"]["alignment"] if known else {}
    if not known or len(aligned["heads"]) * len(aligned["heads"][0]) < 2:
        return None
    every, means = aligned["heads"], aligned["layers"]
    head = ["", *(f"head {number}" for number in range(len(every[0]))), "mean of heads"]
    rows = [
        [f"layer {layer}", *(f"{value:.3f}" for value in (*values, mean))]
        for layer, (values, mean) in enumerate(zip(every, means, strict=True))
    ]
    return known[0]["seed"], Table(head, rows, (f"The mean of all layers and heads: {aligned['mean']:.3f}.",))


def _notes(variants: ByVariant, baseline: str, compared: Mapping[str, Comparison], missing: Sequence[str]) -> list[str]:
    seeds = {len(trials) for trials in variants.values()}
    spreads = ["Several seeds: mean ± standard deviation."] * (max(seeds) > 1)
    spreads += ["One seed: 95% interval over sentences."] * (1 in seeds)
    notes = [" ".join(spreads)]
    if baseline in variants and len(variants) > 1:
        notes += _about_tests(f"Differences from {baseline}", list(compared.values()))
        untested = [name for name in variants if name != baseline and name not in compared]
        notes += [f"Not tested against {baseline}: {', '.join(untested)} ({UNTESTED})."] * bool(untested)
    notes += _differing(variants)
    studies = Counter(
        trial["from"].split("/")[0] for trials in variants.values() for trial in trials if "from" in trial
    )
    notes += [
        f"{counted(n, 'run')} from {study}, where the settings are the same." for study, n in sorted(studies.items())
    ]
    if missing:
        notes.append(f"Not yet run: {', '.join(missing)}.")
    return notes


def _device(trial: dict[str, Any]) -> str:
    """The machine of a trial. Results of version 0.1 have "1 device(s)"."""
    return re.sub(r"(\d+) device\(s\)", lambda found: counted(int(found[1]), "device"), trial.get("device", ""))


def _about_tests(what: str, compared: Sequence[Comparison]) -> list[str]:
    """How differences were tested, by method of `Difference.over`."""
    how = {
        "sentences, seeds": f"{RESAMPLES:,} resamples of sentences and, within them, of seeds (with so few seeds, p "
        "is somewhat too small)",
        "sentences": f"{RESAMPLES:,} resamples of sentences alone (paired bootstrap), where one of the two has one "
        "seed: this says nothing about other seeds",
        "seeds": "Welch's t-test over seeds alone, where results have no counts of sentences",
    }
    used = {each.difference.over for each in compared}
    if not used:
        return []
    methods = "; ".join(text for over, text in how.items() if over in used)
    least = "; ≤: no resample was as far" * any(each.difference.at_most and each.p >= 0.001 for each in compared)
    count = counted(len(compared), "comparison")
    return [
        f"{what} with 95% intervals, by {methods}. p after Holm's correction for {count}{least}; "
        f"n.s.: not significant at {LEVEL}."
    ]


def _differing(variants: ByVariant) -> list[str]:
    """Notes about values that should be equal in a table, but are not."""
    kinds: dict[str, Callable[[dict[str, Any]], str]] = {
        "Budgets": lambda trial: (
            f"{trial['config']['training']['steps']:,} updates of {trial['config']['batching']['tokens']:,} tokens"
            if "training" in trial["config"]
            else ""
        ),
        "Test sets": lambda trial: trial["test"].get("corpus", ""),
        f"Machines ({_unit(variants)}/s and minutes)": _device,
    }
    notes = []
    for kind, of in kinds.items():
        found: dict[str, list[str]] = {}
        for name, trials in variants.items():
            for value in dict.fromkeys(of(trial) for trial in trials):
                seeds = [str(trial["seed"]) for trial in trials if of(trial) == value]
                some = f" of seed {', '.join(seeds)}" if len(seeds) < len(trials) else ""
                if value:
                    found.setdefault(value, []).append(name + some)
        if len(found) > 1:
            most = max(found.values(), key=len)
            groups = [
                f"{value} ({'all others' if names is most and len(names) > 3 else ', '.join(names)})"
                for value, names in found.items()
            ]
            notes.append(f"{kind} differ: {'; '.join(groups)}.")
    return notes


def _mean(trials: Trials, key: str) -> float:
    return statistics.fmean(trial[key] for trial in trials)


def _unit(variants: ByVariant) -> str:
    """The unit of the training speed; tokens if no result has it."""
    names = [name for trials in variants.values() for trial in trials for name in trial if name.endswith(SPEED)]
    return names[0].removesuffix(SPEED) if names else "tokens"


def _speed(trials: Trials, unit: str) -> str:
    known = [trial[unit + SPEED] for trial in trials if trial.get(unit + SPEED) is not None]
    return f"{statistics.fmean(known):,.0f}" if known else ""


def _score(trials: Trials, metric: str, measure: Measure | None, part: str = "test") -> str:
    return _spread(score(trials, metric, measure, part), 2 if measure is None else measure.digits)


def _spread(found: Spread | None, digits: int) -> str:
    if found is None:
        return ""
    if found.deviation is not None:
        return f"{found.mean:.{digits}f} ± {found.deviation:.{digits}f}"
    if found.interval is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"


def difference(found: Comparison | None, digits: int) -> str:
    """With its interval."""
    if found is None:
        return ""
    value, (low, high) = found.difference.value, found.difference.interval
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]".replace("-", "−")


def significance(found: Comparison | None) -> str:
    """p, and n.s. if it is not below the level."""
    if found is None:
        return ""
    text = p_text(found.p, found.difference.at_most).removeprefix("= ").replace(" ", "")
    return text + ("" if found.significant else " n.s.")
