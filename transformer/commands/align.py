"""`transformer align`: from a run and sentence pairs to links, matrices, pictures and error rates."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transformer.alignment.readouts.names import OF_PREDICTIONS
from transformer.attention.config import SIGNED
from transformer.commands.options import Checkpoint, read_translation
from transformer.commands.readouts import ReadOuts, output_folder
from transformer.config import Config
from transformer.errors import UsageError
from transformer.plurals import counted
from transformer.storage.files import complete, write_json
from transformer.storage.run import Run

if TYPE_CHECKING:
    from transformer.alignment.export import Aligned, Aligner, Reverse
    from transformer.alignment.links import Rule
    from transformer.api import TrainedModel
    from transformer.data.corpora.corpus import Corpus

SYMMETRIZE = "grow-diag-final-and"
"""How both directions are combined by default."""
RANKED = 5
"""Number of candidates shown when the best is chosen."""


@dataclass(frozen=True)
class Align(ReadOuts):
    """Align words by attention: links, full matrices, pictures, a page, and the error rate against gold links.

    Aligns the run's own test set, other pairs (--source, --target), or sentences and the model's own translations
    (--translate). Links are made from the first read-out of --by (with --best from the best one); files, page and
    pictures contain all.
    """

    best: bool = False
    """Use the read-out of --by, the layer, the head, and (if they are not given) the threshold, --shift, --pieces
    and --end with the lowest error rate on the run's validation set, which must have links: the grammar's, or those of
    --data.alignments. With --choose-on, on that set."""
    threshold: float | None = None
    """Link all words with at least this weight; 0: all with any weight, for runs whose --model.attention.normalizer
    makes exact zeros. Negative weights count as zero. The default is the word with the most, or what --best chooses."""
    reverse: str = ""
    """A run of the other direction, whose links are combined with these."""
    symmetrize: Literal["intersection", "union", "grow-diag", "grow-diag-final-and"] | None = None
    """How the links of --reverse are combined with these; the default is grow-diag-final-and."""
    reverse_checkpoint: Checkpoint = "auto"
    """Checkpoint of the run of --reverse."""
    output: str = ""
    """An empty or new folder; the default is report/align-SET in the run."""
    formats: tuple[Literal["pharaoh", "npz", "json", "page", "png"], ...] = ("pharaoh", "page")
    """What to write: links (pharaoh); full matrices (npz, json); an interactive page; pictures (png)."""
    show: int = 8
    """Number of pairs on the page and in pictures, from the first."""
    pictures: int | None = None
    """Number of pairs in pictures, if fewer than --show."""

    def check(self) -> None:
        threshold = self.threshold
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError(f"--threshold={threshold}: give a weight from 0 to 1")
        if not self.formats:
            raise UsageError("--formats names nothing to write")
        if self.show < 1 and {"page", "png"} & set(self.formats):
            raise UsageError(f"--show={self.show}: a page and pictures need at least one pair")
        if self.pictures is not None and self.pictures < 1:
            raise UsageError(f"--pictures={self.pictures}: give at least 1, or no png in --formats")
        if self.symmetrize is not None and not self.reverse:
            raise UsageError("--symmetrize combines two directions: give the other one with --reverse")
        if self.translate and self.reverse:
            raise UsageError("--translate aligns the model's own words: --reverse needs given translations")
        super().check()
        first, *_ = self.readouts(read_translation(self.run))
        if first in OF_PREDICTIONS and (self.layer is not None or self.head is not None):
            raise UsageError(f"links come from the first read-out of --by, and {first} has neither layers nor heads: "
                             "leave out --layer and --head")  # fmt: skip

    def linking_rule(self, settings: Config) -> "Rule":
        """The rule by which weights of a run become links, unless --best chooses one."""
        first, *_ = self.readouts(settings)
        return dataclasses.replace(self.rule(settings, first), threshold=self.threshold)

    def execute(self) -> None:
        """Align, write the requested files, and print the agreement with gold links if there are any."""
        from transformer import api
        from transformer.alignment import export
        from transformer.alignment.measure import measure
        from transformer.alignment.select import name

        model = api.load(self.run, self.checkpoint)
        part = self.pairs(model.settings)
        reference = self.reference(part, model)
        folder = output_folder(self.output, Run(Path(self.run)).report / f"align-{part.name}")
        reverse = _reverse(self, model.settings)
        rule = _best(self, self.run, model) if self.best else self.linking_rule(model.settings)
        forward = export.Aligner(model, rule)
        about = _about(self, forward, reverse, part)

        with complete(folder) as unfinished:
            show = self.show if {"page", "png"} & set(self.formats) else 0
            aligned = export.align(
                forward,
                part,
                unfinished,
                about,
                self.formats,
                show,
                self.readouts(model.settings),
                own=self.translate,
                reverse=reverse,
                keep=reference is not None,
            )
            export.write(unfinished, about, aligned, rule, reference, self.formats, self.pictures)
            lines = [f"{_count(aligned)}, {name(rule)}" + _with_reverse(about), *_negative(about)]
            if reference is not None:
                measured = measure(aligned.links, reference.links)
                against = {"about": about, "against": reference.origin}
                write_json(unfinished / "aer.json", against | measured._asdict())
                lines.append(export.show(measured, reference.origin))
        print("\n".join([*lines, *(f"  {path}" for path in sorted(folder.iterdir()))]))


def _count(aligned: "Aligned") -> str:
    """How many pairs were aligned, and how many were not."""
    left_out = f" ({aligned.left_out:,} left out: empty, or too long)" * bool(aligned.left_out)
    return counted(aligned.pairs, "pair") + left_out


def _best(options: Align, run: str, model: "TrainedModel", *, reverse: bool = False) -> "Rule":
    """The rule with the lowest error rate on the validation set of a run."""
    from transformer.alignment.select import name

    choices = options.open_choices(model.settings)
    if options.threshold is not None:
        choices = choices._replace(thresholds=(options.threshold,))
    (ranked,) = options.ranked(run, model, [choices], reverse=reverse)
    for choice in ranked[:RANKED]:
        print(f"  AER {choice.measured.aer:.3f}   {name(choice.rule)}")
    return ranked[0].rule


def _reverse(options: Align, settings: Config) -> "Reverse | None":
    """The run of the other direction."""
    from transformer import api
    from transformer.alignment.export import Aligner, Reverse

    if not options.reverse:
        return None
    model = api.load(options.reverse, options.reverse_checkpoint)
    options.check_run(options.reverse)
    ahead, back = settings.data.languages, model.settings.data.languages
    if back != ahead[::-1]:
        raise UsageError(
            f"--reverse={options.reverse} translates {back[0]} to {back[1]}, but the other direction is {ahead[1]} to "
            f"{ahead[0]}"
        )
    rule = (
        _best(options, options.reverse, model, reverse=True) if options.best else options.linking_rule(model.settings)
    )
    return Reverse(Aligner(model, rule), options.symmetrize or SYMMETRIZE)


def _about(options: Align, by: "Aligner", reverse: "Reverse | None", part: "Corpus") -> dict[str, Any]:
    """Metadata of the files."""
    from transformer.alignment.select import name

    model: Any = by.model
    settings = model.settings.model
    about = {
        "model": type(settings).__name__.lower(),
        "attention": dataclasses.asdict(settings.attention),
        "readouts": list(options.readouts(model.settings)),
        "run": Path(options.run).name,
        "checkpoint": model.checkpoint,
        "pairs": part.name,
        "target": "the model's own" if options.translate else "given",
        "chosen": name(by.rule),
        "rule": by.rule.describe(),
    }
    if settings.attention.mechanism in SIGNED:
        about["negative"] = (
            f"weights of --model.attention.mechanism={settings.attention.mechanism} may be negative, and count as zero "
            "between words"
        )
    if reverse is not None:
        other: Any = reverse.by.model
        about["symmetrized"] = {
            "how": reverse.how,
            "run": Path(options.reverse).name,
            "checkpoint": other.checkpoint,
            "chosen": name(reverse.by.rule),
        }
    return about


def _negative(about: dict[str, Any]) -> list[str]:
    return [about["negative"]] if "negative" in about else []


def _with_reverse(about: dict[str, Any]) -> str:
    joined = about.get("symmetrized")
    return f", {joined['how']} with {joined['run']} ({joined['chosen']})" if joined else ""
