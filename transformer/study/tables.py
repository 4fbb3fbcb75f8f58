"""A study's results as tables, in Markdown and in LaTeX; they depend on nothing but the results."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from transformer.evaluation.significance import LEVEL, RESAMPLES
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
from transformer.study.variants import Metric, Pair

UNTESTED = "one seed and nothing kept of its sentences, no gold links, or another test set"
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
    "≤": r"$\le$",
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
        """A floating table, shrunk to the page where it is wider; needs the packages booktabs and adjustbox. The notes
        go into the caption."""
        rows = [" & ".join(map(escape, row)) + r" \\" for row in self.rows]
        head = " & ".join(map(escape, self.head)) + r" \\"
        body = "\n".join([r"\toprule", head, r"\midrule", *rows, r"\bottomrule"])
        told = " ".join(escape(text) for text in (caption, *self.notes))
        columns = "l" + "r" * (len(self.head) - 1)
        return (
            "\\begin{table}\n\\centering\n\\begin{adjustbox}{max width=\\linewidth}\n"
            f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n\\end{{adjustbox}}\n"
            f"\\caption{{{told}}}\n\\label{{{label}}}\n\\end{{table}}\n"
        )


def escape(text: str) -> str:
    """As LaTeX prints it letter by letter."""
    return "".join(LATEX.get(character, character) for character in text)


def main(variants: ByVariant, baseline: str, metric: Metric, missing: Sequence[str]) -> Table:
    """What each variant reached, and whether it differs from the baseline.

    Args:
        variants: results of one table.
        baseline: one of the variants; "" for none.
        metric: what is compared, BLEU or AER.
        missing: trials without a result, to be named.
    """
    compared = with_baseline(variants, baseline, metric)
    unseen = any("unseen" in trial for trials in variants.values() for trial in trials)
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
        f"{metric} − {baseline}": lambda n, t: "baseline" if n == baseline else difference(compared.get(n), metric),
        "p": lambda n, t: significance(compared.get(n)),
        "tested over": lambda n, t: compared[n].difference.over if n in compared else "",
    }
    if baseline not in variants or len(variants) < 2:
        columns = dict(list(columns.items())[:-3])
    texts = {head: [column(*item) for item in variants.items()] for head, column in columns.items()}
    kept = {head: column for head, column in texts.items() if any(column)}
    rows = [[name, *(column[row] for column in kept.values())] for row, name in enumerate(variants)]
    return Table(["", *kept], rows, tuple(_notes(variants, baseline, compared, missing)))


def pairs(variants: ByVariant, wanted: Sequence[Pair]) -> Table | None:
    """Further differences, corrected for all of them; None where none are wanted."""
    if not wanted:
        return None
    compared = in_pairs(variants, wanted)
    rows = [
        [str(pair), difference(found, pair.metric), significance(found), found.difference.over]
        for pair, found in compared.items()
    ]
    notes = _about_tests("Pairs", list(compared.values()))
    untested = [str(pair) for pair in wanted if pair not in compared]
    notes += [f"Not tested: {'; '.join(untested)} ({UNTESTED})."] * bool(untested)
    return Table(["", "difference", "p", "tested over"], rows, tuple(notes))


def lengths(variants: ByVariant) -> Table:
    """BLEU of each bin of source lengths, and how many sentences are in it."""
    there = bins(variants)
    found = {name: by_length(trials) for name, trials in variants.items()}
    rows = [[name, *(_spread(of.get(b), 1) for b in there)] for name, of in found.items()]
    known = {row["words"]: row.get("sentences") for row in next(iter(variants.values()))[0]["test"]["by_length"]}
    sentences = ["sentences", *(f"{known.get(b) or ''}" for b in there)]
    return Table(["", *there], [*[sentences] * any(sentences[1:]), *rows])


def heads(trials: Trials) -> tuple[int, Table] | None:
    """A variant's first seed with error rates of heads, and a table of them; None if it has one head, or none is known.

    There is no mean over seeds, since heads of two seeds correspond in nothing but their number.
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
    told = ["Several seeds: mean ± standard deviation."] * (max(seeds) > 1)
    told += ["One seed: 95% interval over sentences."] * (1 in seeds)
    notes = [" ".join(told)]
    if baseline in variants and len(variants) > 1:
        notes += _about_tests(f"Differences from {baseline}", list(compared.values()))
        untested = [name for name in variants if name != baseline and name not in compared]
        notes += [f"Not tested against {baseline}: {', '.join(untested)} ({UNTESTED})."] * bool(untested)
    notes += _differing(variants)
    studies = Counter(
        trial["from"].split("/")[0] for trials in variants.values() for trial in trials if "from" in trial
    )
    notes += [
        f"{n} run(s) are those of {study}, where the same settings stand." for study, n in sorted(studies.items())
    ]
    if missing:
        notes.append(f"Not yet run: {', '.join(missing)}.")
    return notes


def _about_tests(what: str, compared: Sequence[Comparison]) -> list[str]:
    """How differences were tested."""
    how = {
        "sentences, seeds": f"{RESAMPLES:,} resamples of sentences and, within them, of seeds (of so few seeds as are "
        "usual, p is somewhat too small)",
        "sentences": f"{RESAMPLES:,} resamples of sentences alone (paired bootstrap), where one of the two has one "
        "seed: of other seeds this says nothing",
        "seeds": "Welch's t-test over seeds alone, where results keep nothing of their sentences",
    }
    used = {each.difference.over for each in compared}
    if not used:
        return []
    told = "; ".join(text for over, text in how.items() if over in used)
    least = "; ≤: no resample was as far" * any(each.difference.at_most and each.p >= 0.001 for each in compared)
    return [
        f"{what} with 95% intervals, by {told}. p after Holm's correction for {len(compared)} comparison(s){least}; "
        f"n.s.: not significant at {LEVEL}."
    ]


def _differing(variants: ByVariant) -> list[str]:
    """Notes about what should be alike in a table, and is not."""
    kinds: dict[str, Callable[[dict[str, Any]], str]] = {
        "Budgets": lambda trial: (
            f"{trial['config']['training']['steps']:,} updates of {trial['config']['batching']['tokens']:,} tokens"
            if "training" in trial["config"]
            else ""
        ),
        "Test sets": lambda trial: trial["test"].get("corpus", ""),
        "Machines (tokens/s and minutes)": lambda trial: trial.get("device", ""),
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
            told = [
                f"{value} ({'all others' if names is most and len(names) > 3 else ', '.join(names)})"
                for value, names in found.items()
            ]
            notes.append(f"{kind} differ: {'; '.join(told)}.")
    return notes


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


def difference(found: Comparison | None, metric: str) -> str:
    """With its interval."""
    if found is None:
        return ""
    digits = DIGITS[metric]
    value, (low, high) = found.difference.value, found.difference.interval
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]".replace("-", "−")


def significance(found: Comparison | None) -> str:
    """p, and n.s. where it is not below the level."""
    if found is None:
        return ""
    value = "<0.001" if found.p < 0.001 else f"{found.p:.3f}"
    if found.difference.at_most and found.p >= 0.001:
        value = f"≤{math.ceil(1000 * found.p) / 1000:.3f}"  # a bound is not to be rounded below itself
    return value + ("" if found.significant else " n.s.")
