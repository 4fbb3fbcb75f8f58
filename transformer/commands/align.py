"""`transformer align`: from a run and sentence pairs to links, matrices, pictures and error rates."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transformer.alignment.readouts.names import FULL_CONTEXT, OF_PREDICTIONS, check_names
from transformer.commands.options import Checkpoint, Command, RunFolder, read_translation
from transformer.config import Config, Translation
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted
from transformer.storage.files import write_json
from transformer.storage.run import Run

if TYPE_CHECKING:
    from transformer.alignment.export import Aligned, Aligner, Reverse
    from transformer.alignment.gold import Reference
    from transformer.alignment.links import Rule
    from transformer.api import TrainedModel
    from transformer.data.corpora.corpus import Corpus

SYMMETRIZE = "grow-diag-final-and"
"""How both directions are joined by default."""
RANKED = 5
"""Candidates that are shown when the best is chosen."""


@dataclass(frozen=True)
class Align(Command):
    """Align words by the attention: links, full matrices, pictures, a page, and the error rate against gold links.

    Of the run's own test set, of other pairs (--source, --target), or of sentences and the model's own translations
    (--translate).
    """

    memory = "leave out the longest pairs"
    run: RunFolder
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets."""
    source: str = ""
    """A source file (with --target or --translate) instead of the run's own sets."""
    target: str = ""
    """File of the translations of --source."""
    translate: bool = False
    """Align the model's own translations."""
    by: tuple[str, ...] | None = None
    """Read-outs by name, which say how much each source word means to a target word. Links are made of the first one
    (with --best of the best one); files, page and pictures have all. The default is weights, or full-context in a run
    that was guided with it. weights: of the attention. full-context: the same in a pass that knows the whole target
    (Garg 2019; for runs with --task.guided.context=full). norms: of the weighted
    values, of a layer (Kobayashi 2020). head-norms: the same of a head. rollout: attention through all layers (Abnar
    and Zuidema 2020). alti: contributions of tokens through all layers (ALTI+, Ferrando 2022). gradient, integrated,
    smoothgrad: saliency (Ding 2019). erasure, omission: the fall of the word's probability when a source word's
    embedding is zeroed, or the word is left out (Li 2019); with log- before, of its logarithm."""
    layer: int | Literal["mean"] | None = None
    """Layer of the attention, from 0, or the mean of all. With neither --layer nor --head, a run with guided alignment
    (--task.guided) is read at its guided head, and any other by the mean of all."""
    head: int | Literal["mean"] | None = None
    """Head of the attention, from 0, or the mean of all; the default is that of --layer."""
    best: bool = False
    """Take the read-out of --by, the layer, the head, and (where they are not given) the threshold, --shift, --pieces
    and --end with the lowest error rate on the run's validation set, which must have links: the grammar's, or those of
    --data.alignments. With --choose-on, on that set."""
    choose_on: tuple[str, str, str] | None = None
    """Files of sources, translations and gold links (as --gold) that --best chooses on."""
    shift: int | None = None
    """Align a token by the attention this many steps after it was predicted (Chen 2020: 1); the default is 0, or what
    --best chooses of 0 and 1."""
    threshold: float | None = None
    """Link all words with at least this weight; 0: all with any weight, for runs whose --model.attention.normalizer
    makes exact zeros. The default is the word with the most, or what --best chooses."""
    pieces: Literal["sum", "mean", "max", "any"] | None = None
    """Weight of a word with several pieces: summed over the pieces of a source word and averaged over those of a target
    word (sum, the default); averaged (mean) or the largest (max) over both; or words are linked where any of their
    pieces are."""
    end: Literal["dropped", "null", "sink"] | None = None
    """Weight on the end token: dropped, the others being rescaled (the default); null, a target word that prefers it
    has no link; sink, it is lost."""
    gold: str = ""
    """Gold links, one line per pair: 1-2 is sure, 1p2 possible. Without it the error rate is measured against the links
    that come with the set, if there are any: the grammar's, which are exact, or those of --data.alignments, which are
    an aligner's output."""
    first_word: Literal[0, 1] | None = None
    """Number of a sentence's first word in the file of --gold."""
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
    """Number of pairs in pictures, where that is fewer than --show."""
    checkpoint: Checkpoint = "auto"

    def check(self) -> None:
        if (bool(self.source) != bool(self.target)) if not self.translate else bool(self.target):
            raise UsageError("--source goes with --target, or with --translate alone")
        threshold = self.threshold
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError(f"--threshold={threshold}: give a weight from 0 to 1")
        if self.shift is not None and self.shift < 0:
            raise UsageError(f"--shift={self.shift}: later by 0 or more tokens")
        by = self.by or ()
        if self.by is not None and not by:
            raise UsageError("--by names no read-out: give weights, or another one")
        check_names(by)
        if self.shift and set(by) & set(OF_PREDICTIONS):
            raise UsageError(f"--shift={self.shift} is for read-outs of the attention, not for --by "
                             + " ".join(name for name in by if name in OF_PREDICTIONS))  # fmt: skip
        if not self.formats:
            raise UsageError("--formats names nothing to write")
        if self.show < 1 and {"page", "png"} & set(self.formats):
            raise UsageError(f"--show={self.show}: a page and pictures need at least one pair")
        if self.pictures is not None and self.pictures < 1:
            raise UsageError(f"--pictures={self.pictures}: give at least 1, or no png in --formats")
        if self.best and (self.layer is not None or self.head is not None):
            raise UsageError("--best chooses layer and head: leave out --layer and --head")
        if self.choose_on is not None and not self.best:
            raise UsageError("--choose-on names the set that --best chooses on: give --best too")
        if (self.gold or self.choose_on) and self.first_word is None:
            flag = "--gold" if self.gold else "--choose-on"
            raise UsageError(f"{flag} needs --first-word 0 or 1: the number of a sentence's first word in that file")
        if self.first_word is not None and not (self.gold or self.choose_on):
            raise UsageError("--first-word says how --gold and --choose-on count, which are not given")
        if self.symmetrize is not None and not self.reverse:
            raise UsageError("--symmetrize joins two directions: give the other one with --reverse")
        if self.translate and (self.gold or self.reverse):
            raise UsageError("--translate aligns the model's own words: --gold and --reverse need given translations")
        self._check_run(self.run)

    def _check_run(self, run: str) -> None:
        """Refuse a run without the attention that is asked for."""
        settings = read_translation(run)
        model: Any = settings.model
        by = self.readouts(settings)
        predictions = set(by) <= set(OF_PREDICTIONS)
        if model.attention.score == "none" and not predictions:
            raise UsageError(f"{run} has no attention (--model.attention.score=none): give --by {OF_PREDICTIONS[0]} or "
                             "another read-out of the predictions")  # fmt: skip
        if predictions and (self.layer is not None or self.head is not None):
            raise UsageError(f"--by {' '.join(by)} has neither layers nor heads: leave out --layer and --head")
        if FULL_CONTEXT in by:
            model.check_full_context("--by full-context")
        layers, heads = model.cross
        for flag, value, count in (("layer", self.layer, layers), ("head", self.head, heads)):
            if isinstance(value, int) and not 0 <= value < count:
                raise UsageError(f"--{flag}={value}: the attention of {run} to the source has {flag}s 0 to {count - 1}")

    def readouts(self, settings: Config) -> tuple[str, ...]:
        """Those of --by, or that of a run."""
        assert isinstance(settings.task, Translation)
        return self.by or (settings.task.guided.by,)

    def rule(self, settings: Config) -> "Rule":
        """By which weights of a run become links, unless --best chooses another one."""
        from transformer.alignment.links import Rule

        model: Any = settings.model
        task, first = settings.task, self.readouts(settings)[0]
        assert isinstance(task, Translation)
        layer, head = (None if given == "mean" else given for given in (self.layer, self.head))
        if self.layer is None and self.head is None and not self.best:
            layer, head = task.guided.place(first, model.cross[0])
        return Rule(layer, head, self.threshold, self.shift or 0, first, self.pieces or "sum", self.end or "dropped")

    def execute(self) -> None:
        """Align, write the requested files, and print the agreement with gold links, where there are any.

        The folder appears under its name when it is complete.
        """
        from transformer import api
        from transformer.alignment import export
        from transformer.alignment.measure import measure
        from transformer.alignment.select import name

        model = api.load(self.run, self.checkpoint)
        part = _pairs(self, model.settings)
        reference = _reference(self, part, model)
        folder = Path(self.output) if self.output else Run(Path(self.run)).report / f"align-{part.name}"
        _check_folder(folder, given=bool(self.output))
        reverse = _reverse(self, model.settings)
        rule = _best(self, self.run, model) if self.best else self.rule(model.settings)
        forward = export.Aligner(model, rule)
        about = _about(self, forward, reverse, part)

        unfinished = folder.with_name(folder.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
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
        lines = [f"{_count(aligned)}, {name(rule)}" + _with_reverse(about)]
        if reference is not None:
            measured = measure(aligned.links, reference.links)
            against = {"about": about, "against": reference.origin}
            write_json(unfinished / "aer.json", against | measured._asdict())
            lines.append(export.show(measured, reference.origin))
        unfinished.rename(folder)
        print("\n".join([*lines, *(f"  {path}" for path in sorted(folder.iterdir()))]))


def _pairs(options: Align, settings: Config) -> "Corpus":
    """What is to be aligned."""
    from transformer.data.corpora import corpus
    from transformer.data.corpora.files import read_parallel

    if not options.source:
        folder, languages = Run(Path(options.run)).data, settings.data.languages
        if options.split != "test" and not corpus.exists(folder, options.split, languages):
            raise UsageError(f"--split={options.split}: {options.run} has no such set")
        return corpus.read_or_validation(folder, options.split, languages)
    source = Path(options.source)
    sources, *rest = read_parallel(source, *([] if options.translate else [Path(options.target)]))
    return corpus.Corpus(sources, rest[0] if rest else [""] * len(sources), None, source.stem)


def _reference(options: Align, part: "Corpus", model: "TrainedModel") -> "Reference | None":
    """The links to measure against, if there are any."""
    from transformer.alignment import gold

    if options.gold:
        return gold.read(Path(options.gold), options.first_word or 0, part, model.tokenizers)
    if options.translate:
        return None
    return gold.of_data(Run(Path(options.run)).data, part, model.settings.data, model.tokenizers)


def _count(aligned: "Aligned") -> str:
    """How many pairs were aligned, and how many were not."""
    left_out = f" ({aligned.left_out:,} left out: empty, or too long)" * bool(aligned.left_out)
    return counted(aligned.pairs, "pair") + left_out


def _check_folder(folder: Path, *, given: bool) -> None:
    """Raises UsageError where anything would be overwritten."""
    flag = f"--output={folder}" if given else str(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{flag} is no folder: give another one")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{flag} is not empty: give another --output, or remove it")


def _best(options: Align, run: str, model: "TrainedModel", *, reverse: bool = False) -> "Rule":
    """The rule with the lowest error rate on the validation set of a run."""
    from transformer.alignment.select import EVERYTHING, name, rank

    development, (links, origin) = _development(options, run, model, reverse=reverse)
    given = {"thresholds": options.threshold, "shifts": options.shift, "pieces": options.pieces, "end": options.end}
    fixed: dict[str, Any] = {field: (value,) for field, value in given.items() if value is not None}
    by = options.readouts(model.settings)
    choices = EVERYTHING._replace(by=by, **fixed)
    attended = model.attend(development.sources, development.targets, by=by)
    ranked = rank(attended, links, options.rule(model.settings), choices)
    if not ranked:
        raise TransformerError(f"--best: no pair of {development.name} can be aligned: give --layer and --head")
    count = counted(ranked[0].measured.sentences, f"{development.name} pair")
    print(f"{run}, on {count}, against {origin}:")
    for choice in ranked[:RANKED]:
        print(f"  AER {choice.measured.aer:.3f}   {name(choice.rule)}")
    return ranked[0].rule


def _development(options: Align, run: str, model: "TrainedModel", *, reverse: bool) -> "tuple[Corpus, Reference]":
    """The set with links that --best chooses on; `reverse`: for a run of the other direction, sides exchanged."""
    from transformer.alignment import gold
    from transformer.data.corpora.corpus import Corpus
    from transformer.data.corpora.files import read_parallel
    from transformer.data.tokenizers.tokenizer import Tokenizers

    if options.choose_on is None:
        found = gold.read_own(Run(Path(run)).data, "validation", model.settings.data, model.tokenizers)
        if found is None:
            raise UsageError(
                f"--best needs links of the validation set, and {run} has none: give --choose-on SOURCE TARGET GOLD, "
                "or --layer and --head"
            )
        return found
    source, target, links = map(Path, options.choose_on)
    sources, targets = read_parallel(source, target)
    part = Corpus(sources, targets, None, source.stem)
    tokenizers = Tokenizers(*model.tokenizers[::-1]) if reverse else model.tokenizers
    reference = gold.read(links, options.first_word or 0, part, tokenizers)
    if not reverse:
        return part, reference
    return Corpus(part.targets, part.sources, None, part.name), gold.reverse(reference)


def _reverse(options: Align, settings: Config) -> "Reverse | None":
    """The run of the other direction."""
    from transformer import api
    from transformer.alignment.export import Aligner, Reverse

    if not options.reverse:
        return None
    model = api.load(options.reverse, options.reverse_checkpoint)
    options._check_run(options.reverse)
    ahead, back = settings.data.languages, model.settings.data.languages
    if back != ahead[::-1]:
        raise UsageError(
            f"--reverse={options.reverse} translates {back[0]} to {back[1]}, and the other direction is {ahead[1]} to "
            f"{ahead[0]}"
        )
    rule = _best(options, options.reverse, model, reverse=True) if options.best else options.rule(model.settings)
    return Reverse(Aligner(model, rule), options.symmetrize or SYMMETRIZE)


def _about(options: Align, by: "Aligner", reverse: "Reverse | None", part: "Corpus") -> dict[str, Any]:
    """What the files say of themselves."""
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
    if reverse is not None:
        other: Any = reverse.by.model
        about["symmetrized"] = {
            "how": reverse.how,
            "run": Path(options.reverse).name,
            "checkpoint": other.checkpoint,
            "chosen": name(reverse.by.rule),
        }
    return about


def _with_reverse(about: dict[str, Any]) -> str:
    joined = about.get("symmetrized")
    return f", {joined['how']} with {joined['run']} ({joined['chosen']})" if joined else ""
