"""`transformer probe`: are read-outs faithful to the model?"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transformer.alignment.faithfulness.amounts import AMOUNTS, Amount
from transformer.commands.options import read_translation
from transformer.commands.readouts import ReadOuts, output_folder
from transformer.commands.runs import aligned
from transformer.errors import UsageError
from transformer.plurals import counted
from transformer.storage.files import complete, write_json
from transformer.storage.run import Run

if TYPE_CHECKING:
    from transformer.alignment.gold import Reference
    from transformer.alignment.links import Rule
    from transformer.alignment.measure import Measured
    from transformer.api import TrainedModel
    from transformer.data.corpora.corpus import Corpus
    from transformer.evaluation.faithfulness import Faithfulness, Mean, Row


@dataclass(frozen=True)
class Probe(ReadOuts):
    """Test whether read-outs are faithful: does the prediction depend on the words that they rank highest?

    Prints a row for each read-out of --by and for random ranks, with 95% intervals over sentences. comprehensiveness:
    how much the probability of a target token drops when the highest-ranked source words are removed from the sentence
    (high is faithful). sufficiency: the drop when all others are removed (low is faithful) (DeYoung 2020). flips: how
    often another token becomes the most likely one when the highest-ranked source token gets no attention: its
    weights become zero in all layers and heads, the others are rescaled to the former sum (Serrano and Smith 2019).
    AER: against gold links, if there are any. Below the table, permutation: how far the distribution over the
    vocabulary shifts (total variation distance, from 0 to 1; median of --permutations) when the weights are permuted
    over the source tokens, in all layers and heads alike (Jain and Wallace 2019). Attention is changed at one step at a
    time, the one that predicts the token. The tokens are the given translation's, or the model's own with --translate.
    """

    remove: tuple[str, ...] = AMOUNTS
    """How many source words are removed, or kept: numbers of words, or shares such as 10%, which are rounded up.
    Comprehensiveness and sufficiency are means over these."""
    tests: tuple[Literal["removal", "flips", "permutation"], ...] = ("removal", "flips", "permutation")
    """What is tested: comprehensiveness and sufficiency (removal), flips, permutation."""
    permutations: int = 20
    """Permutations of the weights for each target token."""
    seed: int = 1
    """Seed of random ranks and permutations, which depend only on it and the line number."""
    output: str = ""
    """An empty or new folder; the default is report/probe-SET in the run."""

    def check(self) -> None:
        if not self.remove:
            raise UsageError("--remove names no number of words: give some, such as 1 10%")
        if not self.tests:
            raise UsageError("--tests names nothing to test: give some of removal, flips, permutation")
        for text in self.remove:
            Amount.parse(text)
        if self.permutations < 1:
            raise UsageError(f"--permutations={self.permutations}: give at least 1, or no permutation in --tests")
        if self.seed < 0:
            raise UsageError(f"--seed={self.seed}: 0 or more")
        super().check()
        model: Any = read_translation(self.run).model
        if model.attention.score == "none" and set(self.tests) != {"removal"}:
            raise UsageError(f"{self.run} has no attention to change (--model.attention.score=none): give --tests "
                             "removal")  # fmt: skip

    def execute(self) -> None:
        """Test, write the results, and print them as a table."""
        from transformer import api
        from transformer.alignment.faithfulness.probe import Wanted
        from transformer.decoding.remarks import collected

        model = api.load(self.run, self.checkpoint)
        part = self.pairs(model.settings)
        reference = self.reference(part, model)
        folder = output_folder(self.output, Run(Path(self.run)).report / f"probe-{part.name}")
        rules = (
            _best(self, model) if self.best else [self.rule(model.settings, by) for by in self.readouts(model.settings)]
        )
        wanted = Wanted(self.tests, tuple(map(Amount.parse, self.remove)), self.permutations, self.seed)
        targets = None if self.translate else part.targets
        with complete(folder) as unfinished, collected() as remarks:
            found = model.probe(part.sources, targets, rules=rules, wanted=wanted)
            rates = _error_rates(found, reference)
            write_json(unfinished / "faithfulness.json", _json(self, model, part, found, rates, reference))
        remarks.report()
        print("\n".join([*_text(found, rates, reference), f"  {folder / 'faithfulness.json'}"]))


def _best(options: Probe, model: "TrainedModel") -> "list[Rule]":
    """For each read-out the rule with the lowest error rate on the validation set; words are linked only by rank."""
    choices = options.open_choices(model.settings)._replace(thresholds=(None,))
    ranked = options.ranked(options.run, model, [choices._replace(by=(by,)) for by in choices.by])
    rows = [("AER", "chosen"), *((f"{best.measured.aer:.3f}", _name(best.rule)) for best, *_ in ranked)]
    print(aligned(rows, "><"))
    return [best.rule for best, *_ in ranked]


def _error_rates(found: "Faithfulness", reference: "Reference | None") -> "list[Measured | None]":
    from transformer.alignment.measure import measure

    return [None if reference is None else measure(row.links, reference.links) for row in found.rows]


def _name(rule: "Rule | None") -> str:
    from transformer.alignment.select import name

    if rule is None:
        return "random ranks"
    return name(rule) if rule.by != "weights" else f"weights, {name(rule)}"


def _text(found: "Faithfulness", rates: "list[Measured | None]", reference: "Reference | None") -> list[str]:
    """The table, and the lines below it."""
    columns = {
        "comprehensiveness": [_mean(row.comprehensiveness) for row in found.rows],
        "sufficiency": [_mean(row.sufficiency) for row in found.rows],
        "flips": [_mean(row.flips) for row in found.rows],
        "AER": ["" if rate is None else _value(rate.aer, rate.interval) for rate in rates],
    }
    shown = {name: values for name, values in columns.items() if any(values)}
    rows = zip(map(_name, (row.rule for row in found.rows)), *shown.values(), strict=True)
    lines = [aligned([("read-out", *shown), *rows], "<" + ">" * len(shown))] if shown else []
    if found.permutation is not None:
        lines.append(f"weights permuted: distance {_mean(found.permutation)}")
    left_out = f" ({found.left_out:,} left out: empty, or too long)" * bool(found.left_out)
    lines.append(f"{counted(found.tokens, 'target token')} of {counted(found.sentences, 'pair')}{left_out}")
    if reference is not None:
        lines[-1] += f"; AER against {reference.origin}"
    return lines


def _mean(mean: "Mean | None") -> str:
    return "" if mean is None else _value(*mean)


def _value(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _json(
    options: Probe,
    model: "TrainedModel",
    part: "Corpus",
    found: "Faithfulness",
    rates: "list[Measured | None]",
    reference: "Reference | None",
) -> dict[str, Any]:
    settings: Any = model.settings.model
    return {
        "about": {
            "model": type(settings).__name__.lower(),
            "attention": dataclasses.asdict(settings.attention),
            "run": Path(options.run).name,
            "checkpoint": model.checkpoint,
            "pairs": part.name,
            "target": "the model's own" if options.translate else "given",
            "remove": list(options.remove),
            "tests": list(options.tests),
            "permutations": options.permutations,
            "seed": options.seed,
        },
        "tokens": found.tokens,
        "sentences": found.sentences,
        "left_out": found.left_out,
        "against": None if reference is None else reference.origin,
        "permutation": _mean_json(found.permutation),
        "readouts": [_row_json(row, rate) for row, rate in zip(found.rows, rates, strict=True)],
    }


def _row_json(row: "Row", rate: "Measured | None") -> dict[str, Any]:
    by_amount = None
    if row.by_amount is not None:
        by_amount = {
            amount: {"comprehensiveness": _mean_json(both[0]), "sufficiency": _mean_json(both[1])}
            for amount, both in row.by_amount.items()
        }
    return {
        "name": _name(row.rule),
        "rule": None if row.rule is None else row.rule.describe(),
        "comprehensiveness": _mean_json(row.comprehensiveness),
        "sufficiency": _mean_json(row.sufficiency),
        "by_amount": by_amount,
        "flips": _mean_json(row.flips),
        "aer": None if rate is None else rate._asdict(),
    }


def _mean_json(mean: "Mean | None") -> dict[str, Any] | None:
    return None if mean is None else mean._asdict()
