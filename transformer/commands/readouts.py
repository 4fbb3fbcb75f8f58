"""What the commands that read the attention share: which pairs, which read-outs, and reference links."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transformer.alignment.readouts.names import FULL_CONTEXT, OF_PREDICTIONS, WITHOUT_HEADS, check_names
from transformer.commands.options import Checkpoint, Command, RunFolder, read_translation
from transformer.config import Config, Translation
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted
from transformer.storage.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformer.alignment.gold import Reference
    from transformer.alignment.links import Rule
    from transformer.alignment.select import Choice, Open
    from transformer.api import TrainedModel
    from transformer.data.corpora.corpus import Corpus


@dataclass(frozen=True)
class ReadOuts(Command):
    """Pairs of a run, their read-outs, and how these are read."""

    memory = "leave out the longest pairs"
    run: RunFolder
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets."""
    source: str = ""
    """A source file (with --target or --translate) instead of the run's own sets."""
    target: str = ""
    """File of the translations of --source."""
    translate: bool = False
    """Read the model's own translations."""
    by: tuple[str, ...] | None = None
    """Read-outs by name, which say how much each source word means to a target word. The default is weights, or
    full-context in a run that was guided with it. weights: of the attention. full-context: the same in a pass that sees
    the whole target (Garg 2019; for runs with --task.guided.context=full). norms: of the weighted values, per layer
    (Kobayashi 2020). head-norms: the same per head. rollout: attention through all layers (Abnar and Zuidema 2020).
    alti: contributions of tokens through all layers (ALTI+, Ferrando 2022). gradient, integrated, smoothgrad: saliency
    (Ding 2019). erasure, omission: the drop in the word's probability when a source word's embedding is zeroed, or the
    word is deleted (Li 2019); with the prefix log-, of its logarithm."""
    layer: int | Literal["mean"] | None = None
    """Layer of the attention, from 0, or the mean of all. With neither --layer nor --head, the default is the guided
    head for a run with guided alignment (--task.guided), otherwise the mean of all."""
    head: int | Literal["mean"] | None = None
    """Head of the attention, from 0, or the mean of all; the default is that of --layer."""
    best: bool = False
    """Use the layer, the head, and (if they are not given) --shift, --pieces and --end with the lowest error rate
    on the run's validation set, which must have links: the grammar's, or those of --data.alignments. With --choose-on,
    on that set."""
    choose_on: tuple[str, str, str] | None = None
    """Files of sources, translations and gold links (as --gold) that --best chooses on."""
    shift: int | None = None
    """Align a token by the attention this many steps after it was predicted (Chen 2020: 1); the default is 0, or what
    --best chooses of 0 and 1."""
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
    checkpoint: Checkpoint = "auto"

    def check(self) -> None:
        if (bool(self.source) != bool(self.target)) if not self.translate else bool(self.target):
            raise UsageError("--source needs either --target or --translate")
        if self.shift is not None and self.shift < 0:
            raise UsageError(f"--shift={self.shift}: give 0 or more tokens")
        by = self.by or ()
        if self.by is not None and not by:
            raise UsageError("--by names no read-out: give one, such as weights")
        check_names(by)
        if self.shift and set(by) & set(OF_PREDICTIONS):
            raise UsageError(f"--shift={self.shift} is for read-outs of the attention, not for --by "
                             + " ".join(name for name in by if name in OF_PREDICTIONS))  # fmt: skip
        if self.best and (self.layer is not None or self.head is not None):
            raise UsageError("--best chooses layer and head: leave out --layer and --head")
        if self.choose_on is not None and not self.best:
            raise UsageError("--choose-on names the set that --best chooses on: give --best too")
        if (self.gold or self.choose_on) and self.first_word is None:
            flag = "--gold" if self.gold else "--choose-on"
            raise UsageError(f"{flag} needs --first-word 0 or 1: the number of a sentence's first word in that file")
        if self.first_word is not None and not (self.gold or self.choose_on):
            raise UsageError("--first-word says how --gold and --choose-on count, which are not given")
        if self.translate and self.gold:
            raise UsageError("--translate reads the model's own words: --gold needs given translations")
        self.check_run(self.run)

    def check_run(self, run: str) -> None:
        """Refuse a run without the requested attention."""
        settings = read_translation(run)
        model: Any = settings.model
        by = self.readouts(settings)
        predictions = set(by) <= set(OF_PREDICTIONS)
        if model.attention.score == "none" and not predictions:
            raise UsageError(f"{run} has no attention (--model.attention.score=none): give --by {OF_PREDICTIONS[0]} or "
                             "another read-out of the predictions")  # fmt: skip
        if predictions and (self.layer is not None or self.head is not None):
            raise UsageError(f"--by {' '.join(by)} has neither layers nor heads: leave out --layer and --head")
        if isinstance(self.head, int) and set(by) <= {*OF_PREDICTIONS, *WITHOUT_HEADS}:
            raise UsageError(f"--by {' '.join(by)} has no heads: leave out --head, or give head-norms")
        if FULL_CONTEXT in by:
            model.check_full_context("--by full-context")
        layers, heads = model.cross
        for flag, value, count in (("layer", self.layer, layers), ("head", self.head, heads)):
            if isinstance(value, int) and not 0 <= value < count:
                raise UsageError(f"--{flag}={value}: the attention of {run} to the source has {flag}s 0 to {count - 1}")

    def readouts(self, settings: Config) -> tuple[str, ...]:
        """The read-outs of --by, or the default of a run."""
        assert isinstance(settings.task, Translation)
        return self.by or (settings.task.guided.by,)

    def rule(self, settings: Config, by: str) -> "Rule":
        """How a read-out of a run is read, unless --best chooses. Layer and head apply only to read-outs that have
        them."""
        from transformer.alignment.links import Rule

        model: Any = settings.model
        assert isinstance(settings.task, Translation)
        layer, head = (None if given == "mean" else given for given in (self.layer, self.head))
        if self.layer is None and self.head is None and not self.best:
            layer, head = settings.task.guided.place(by, model.cross[0])
        layer = None if by in OF_PREDICTIONS else layer
        head = None if by in (*OF_PREDICTIONS, *WITHOUT_HEADS) else head
        return Rule(layer, head, None, self.shift or 0, by, self.pieces or "sum", self.end or "dropped")

    def pairs(self, settings: Config) -> "Corpus":
        """The pairs to read."""
        from transformer.data.corpora import corpus
        from transformer.data.corpora.files import read_parallel

        if not self.source:
            folder, languages = Run(Path(self.run)).data, settings.data.languages
            if self.split != "test" and not corpus.exists(folder, self.split, languages):
                raise UsageError(f"--split={self.split}: {self.run} has no such set")
            return corpus.read_or_validation(folder, self.split, languages)
        source = Path(self.source)
        sources, *rest = read_parallel(source, *([] if self.translate else [Path(self.target)]))
        return corpus.Corpus(sources, rest[0] if rest else [""] * len(sources), None, source.stem)

    def reference(self, part: "Corpus", model: "TrainedModel") -> "Reference | None":
        """The reference links, if there are any."""
        from transformer.alignment import gold

        if self.gold:
            return gold.read(Path(self.gold), self.first_word or 0, part, model.tokenizers)
        if self.translate:
            return None
        return gold.of_data(Run(Path(self.run)).data, part, model.settings.data, model.tokenizers)

    def open_choices(self, settings: Config) -> "Open":
        """What --best chooses: all that is not given."""
        from transformer.alignment.select import EVERYTHING

        given = {"shifts": self.shift, "pieces": self.pieces, "end": self.end}
        fixed: dict[str, Any] = {field: (value,) for field, value in given.items() if value is not None}
        return EVERYTHING._replace(by=self.readouts(settings), **fixed)

    def ranked(
        self, run: str, model: "TrainedModel", choices: "Sequence[Open]", *, reverse: bool = False
    ) -> "list[list[Choice]]":
        """For each of several sets of choices, all candidates by their error rate on the validation set of a run."""
        from transformer.alignment.links import Rule
        from transformer.alignment.select import rank

        development, (links, origin) = self._development(run, model, reverse=reverse)
        attended = model.attend(development.sources, development.targets, by=self.readouts(model.settings))
        found = [rank(attended, links, Rule(), each) for each in choices]
        if not all(found):
            raise TransformerError(f"--best: no pair of {development.name} can be aligned: give --layer and --head")
        count = counted(found[0][0].measured.sentences, f"{development.name} pair")
        print(f"{run}, on {count}, against {origin}:")
        return found

    def _development(self, run: str, model: "TrainedModel", *, reverse: bool) -> "tuple[Corpus, Reference]":
        """The set with links that --best chooses on; `reverse`: for a run of the other direction, sides exchanged."""
        from transformer.alignment import gold
        from transformer.data.corpora.corpus import Corpus
        from transformer.data.corpora.files import read_parallel
        from transformer.data.tokenizers.tokenizer import Tokenizers

        if self.choose_on is None:
            found = gold.read_own(Run(Path(run)).data, "validation", model.settings.data, model.tokenizers)
            if found is None:
                raise UsageError(
                    f"--best needs links of the validation set, and {run} has none: give --choose-on SOURCE TARGET "
                    "GOLD, or --layer and --head"
                )
            return found
        source, target, links = map(Path, self.choose_on)
        sources, targets = read_parallel(source, target)
        part = Corpus(sources, targets, None, source.stem)
        tokenizers = Tokenizers(*model.tokenizers[::-1]) if reverse else model.tokenizers
        reference = gold.read(links, self.first_word or 0, part, tokenizers)
        if not reverse:
            return part, reference
        return Corpus(part.targets, part.sources, None, part.name), gold.reverse(reference)


def output_folder(given: str, default: Path) -> Path:
    """Where results go. Raises UsageError if anything would be overwritten."""
    folder = Path(given) if given else default
    flag = f"--output={folder}" if given else str(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{flag} is not a folder: give another one")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{flag} is not empty: give another --output, or remove it")
    return folder
