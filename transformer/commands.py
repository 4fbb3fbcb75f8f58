"""The commands: their options, and which function does each. A docstring here is the text of --help."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from transformer import recipes
from transformer.config import Config
from transformer.errors import UsageError

RECIPE = f"One of {', '.join(recipes.names())}; or a .py file; or a run directory."


@dataclass(frozen=True)
class Train:
    """Train a model: `transformer train RECIPE [options]`.

    RECIPE is a name (`transformer train grammar`), a .py file, or a run directory whose settings serve again.
    Every setting of the recipe is an option below.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE", help=RECIPE)]
    run: str = ""
    """Directory of the run; the default is runs/RECIPE."""
    resume: bool = False
    """Go on with the run in the directory, exactly; start it when there is none yet."""
    init_from: str = ""
    """Start from the parameters (and the tokenizer) of another run: its best or averaged checkpoint."""
    smoke: bool = False
    """Shrink the recipe to seconds, to see that it runs."""
    config: Annotated[tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[Config]], tyro.conf.arg(name="")] = field(
        default_factory=Config
    )

    def __call__(self) -> None:
        from transformer.workflow import train

        settings = recipes.smoke(self.config) if self.smoke else self.config
        continued = (Path(self.recipe) / "config.json").is_file()
        name = Path(self.recipe).stem if not continued else Path(self.recipe).name
        default = Path(self.recipe) if continued and self.resume else Path("runs") / (name + "-smoke" * self.smoke)
        folder = Path(self.run) if self.run else default
        train(
            settings,
            folder,
            name,
            resume=self.resume,
            init_from=Path(self.init_from) if self.init_from else None,
        )


@dataclass(frozen=True)
class Search:
    """How translations are searched; what is not given is as the run's settings have it."""

    beam: int | None = None
    """Hypotheses kept a sentence; 1 is greedy."""
    normalize: Literal["gnmt", "average", "none"] | None = None
    """Length penalty: ((5 + length) / 6) ^ alpha, length ^ alpha, or none."""
    length_penalty: float | None = None
    """Its alpha."""
    coverage_penalty: float | None = None
    """beta of the penalty for source words that were not looked at."""
    min_length: int | None = None
    """Fewest tokens of a translation."""
    max_ratio: float | None = None
    """Most tokens, as a multiple of the source's (plus a few)."""
    samples: int | None = None
    """Draw so many translations of each sentence instead of searching."""
    temperature: float | None = None
    """--samples: below 1 is surer, above 1 wilder."""
    top_k: int | None = None
    """--samples: only the k likeliest tokens."""
    top_p: float | None = None
    """--samples: only the likeliest tokens that together have this probability."""
    min_p: float | None = None
    """--samples: only tokens with this share of the likeliest one's probability."""
    seed: int | None = None
    """--samples: of drawing."""
    n_best: int | None = None
    """Translations of each sentence (translate: with --format json)."""
    mbr: Literal["none", "chrf", "bleu"] | None = None
    """Of samples or n best, take the one most like the others by chrF or BLEU (minimum Bayes risk)."""
    batch: int | None = None
    """Sentences searched at once."""
    workers: int | None = None
    """Threads that search side by side."""
    replace_unknown: bool = False
    """Word tokenizers: replace each unknown word by that of the source which it looks at most."""
    lexicon: str | None = None
    """--replace-unknown: translations of words, to be taken where it has one; a word, a tab, its translation a line."""

    def overrides(self) -> dict[str, Any]:
        """What was given."""
        given = dataclasses.asdict(self)
        return {name: value for name, value in given.items() if value is not None and value is not False}


@dataclass(frozen=True)
class Model:
    """Which checkpoint, and which other runs with it."""

    checkpoint: str = "auto"
    """best, last, average, or a step; auto is the average where there is one, otherwise the best."""
    ensemble: tuple[str, ...] = ()
    """Further runs with the same tokenizer, of any family: all translate as one."""
    ensemble_average: Literal["probability", "log-probability"] = "probability"
    """--ensemble: what is averaged."""

    def of(self, run: str) -> Any:
        """The trained model of a run."""
        from transformer.lines import Trained

        return Trained(run, self.checkpoint, self.ensemble, self.ensemble_average)


@dataclass(frozen=True)
class Translate:
    """Translate text: one line out for each line in, in order; empty lines stay empty.

    Reads standard input, or --input; writes standard output, or --output.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    input: str = "-"
    """A file, plain or .gz; - is standard input."""
    output: str = "-"
    """A new file; - is standard output."""
    format: Literal["text", "json"] = "text"
    """text: the best translation; json: an object a line, with all that were asked for, their scores, and with
    --alignments their links."""
    alignments: bool = False
    """--format json: which source word each word looked at most, as "0-0 1-2", source first."""
    prefix: str = ""
    """A file: the words that each translation begins with, a line each; an empty line leaves it free."""
    resume: bool = False
    """Go on with an --output that was interrupted, exactly where it stopped; start it when there is none."""
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)

    def __call__(self) -> None:
        from transformer.lines import Task, translate

        search = self.search.overrides()
        if self.format == "text":
            if self.alignments:
                raise UsageError("--alignments come with --format json")
            if max(search.get("n_best", 1), search.get("samples", 1)) > 1 and search.get("mbr", "none") == "none":
                raise UsageError("several translations a line come with --format json; or give --mbr to choose one")
        if self.alignments:
            search["attention"] = True
        translate(Task(self.model.of(self.run), self.input, self.output, search, self.prefix, self.format, self.resume))


@dataclass(frozen=True)
class Score:
    """How likely given translations are: a JSON object a line, with every token's log-probability in nats.

    With --against, which of two translations of each sentence the model prefers, and how often the first (contrastive
    pairs). Perplexities go to standard error.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    source: str
    """A file of sources, plain or .gz."""
    target: str
    """Their translations."""
    against: str = ""
    """Other translations of the same sources."""
    output: str = "-"
    """A new file; - is standard output."""
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)

    def __call__(self) -> None:
        from transformer.lines import Scoring, score

        against = Path(self.against) if self.against else None
        score(Scoring(self.model.of(self.run), Path(self.source), Path(self.target), against, self.output))


@dataclass(frozen=True)
class Evaluate:
    """Score a run on its test set: BLEU, chrF and TER with signatures, BLEU by source length, perplexity.

    Writes the translations and the scores to the run's report/ folder.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets. The grammar's test is followed by its split of unseen constructions."""
    source: str = ""
    """Another source file (with --reference) in place of the run's own."""
    reference: str = ""
    """Its translations."""
    against: str = ""
    """Another run, or a file of its translations of the same set: adds a paired bootstrap test."""
    tokenize: Literal["13a", "none", "intl", "char", "zh"] = "13a"
    """sacreBLEU's tokenizer; none compares with published figures on text that comes tokenised."""
    lowercase: bool = False
    """Ignore case."""
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)

    def __call__(self) -> None:
        from transformer.workflow import evaluate

        if bool(self.source) != bool(self.reference):
            raise UsageError("--source and --reference go together")
        files = (Path(self.source), Path(self.reference)) if self.source else None
        evaluate(
            self.model.of(self.run),
            self.split,
            files,
            self.against,
            self.tokenize,
            self.lowercase,
            self.search.overrides(),
        )


@dataclass(frozen=True)
class Demo:
    """Train on the embedded grammar, then show the scores, some translations, and where everything is."""

    run: str = "runs/demo"
    """Directory of the run; an older demo there is moved aside, not deleted."""

    def __call__(self) -> None:
        from transformer.workflow import demo

        demo(Path(self.run))


@dataclass(frozen=True)
class Study:
    """Run what is missing of a study (a grid of runs under one budget), and print its tables.

    Results, tables and figure are kept beside the study's file; a study that was stopped goes on where it was.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")]
    """A .py file that defines `study`, or a folder with a study.py."""
    runs: str = ""
    """Where its run directories are; the default is runs/ and the name of the study's folder."""
    only: tuple[str, ...] = ()
    """Cells to run; the default is all of them."""
    smoke: bool = False
    """Shrink every cell to seconds, to see that the study runs; results stay with the runs."""
    report: bool = False
    """Run nothing: make tables and figure anew from the results there are."""

    def __call__(self) -> None:
        from transformer.study.run import study

        runs = Path(self.runs) if self.runs else None
        study(Path(self.study), runs, self.only, smoke=self.smoke, report_only=self.report)


@dataclass(frozen=True)
class Align:
    """Align words by the attention: links, full matrices, pictures, a page, and the error rate against gold links.

    Of the run's own test set, of other pairs (--source, --target), or of sentences and the model's own translations
    (--translate).
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets."""
    source: str = ""
    """A source file (with --target or --translate) in place of the run's own sets."""
    target: str = ""
    """Its translations."""
    translate: bool = False
    """Align what the model itself writes."""
    layer: int | None = None
    """Layer of the attention, from 0; the default is the mean of all."""
    head: int | None = None
    """Its head, from 0; the default is the mean of all."""
    best: bool = False
    """Take the layer and head with the lowest error rate on the run's validation set, which must have gold links."""
    shift: int = 0
    """Take for a token what was looked at so many steps after it was written."""
    threshold: float | None = None
    """Link all words with at least this weight; the default is the one with the most."""
    gold: str = ""
    """Gold links, a line a pair: 1-2 is sure, 1p2 possible. The grammar's sets bring theirs."""
    first_word: Literal[0, 1] | None = None
    """--gold: the number of a sentence's first word there."""
    reverse: str = ""
    """A run of the other direction, whose links are combined with these."""
    symmetrize: Literal["intersection", "union", "grow-diag-final-and"] | None = None
    """--reverse: how; the default is grow-diag-final-and."""
    reverse_checkpoint: str = "auto"
    """--reverse: which of its checkpoints."""
    output: str = ""
    """An empty or new folder; the default is report/align-SET in the run."""
    formats: tuple[Literal["pharaoh", "npz", "json", "page", "png"], ...] = ("pharaoh", "page")
    """What to write: links; full matrices; a page to look at; pictures."""
    show: int = 8
    """Pairs on the page and in pictures: the first so many."""
    checkpoint: str = "auto"
    """best, last, average, or a step; auto is the average where there is one, otherwise the best."""

    def __call__(self) -> None:
        from transformer.alignment.run import align
        from transformer.alignment.task import Task
        from transformer.alignment.words import Rule

        if (bool(self.source) != bool(self.target)) if not self.translate else bool(self.target):
            raise UsageError("--source goes with --target, or with --translate alone")
        align(
            Task(
                run=Path(self.run),
                split=self.split,
                files=(Path(self.source), Path(self.target)) if self.source else None,
                own=self.translate,
                rule=Rule(self.layer, self.head, self.threshold, self.shift),
                best=self.best,
                gold=Path(self.gold) if self.gold else None,
                first_word=self.first_word,
                reverse=Path(self.reverse) if self.reverse else None,
                symmetrize=self.symmetrize,
                reverse_checkpoint=self.reverse_checkpoint,
                output=Path(self.output) if self.output else None,
                formats=self.formats,
                show=self.show,
                checkpoint=self.checkpoint,
            )
        )


@dataclass(frozen=True)
class Explain:
    """Self-attention step by step, on one sentence of a trained Transformer.

    Embedding, place, query, key, value, scores, scaling, mask, softmax, context.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    sentence: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SENTENCE")]
    """In the source language."""
    layer: int = 0
    """From 0."""
    heads: tuple[int, ...] = ()
    """From 0; shown one after the other. The default is the first two."""
    token: int | None = None
    """The token whose way is followed, from 0; the default is the one in the middle."""
    decoder: bool = False
    """The decoder's masked self-attention over the model's own translation, instead of the encoder's."""
    page: str = ""
    """A new HTML file with all of it to click through: every head, token and matrix."""
    checkpoint: str = "auto"
    """best, last, average, or a step; auto is the average where there is one, otherwise the best."""

    def __call__(self) -> None:
        from transformer.explain.run import Task, explain

        explain(
            Task(
                run=Path(self.run),
                sentence=self.sentence,
                layer=self.layer,
                heads=self.heads,
                token=self.token,
                decoder=self.decoder,
                page=Path(self.page) if self.page else None,
                checkpoint=self.checkpoint,
            )
        )


COMMANDS = {
    "train": Train,
    "translate": Translate,
    "score": Score,
    "evaluate": Evaluate,
    "align": Align,
    "explain": Explain,
    "study": Study,
    "demo": Demo,
}
