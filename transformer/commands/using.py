"""Commands that use a trained run: translate, score, evaluate."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from transformer.distributed.config import Cluster
from transformer.errors import UsageError


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
    """Most tokens, as a multiple of the source's ..."""
    max_extra: int | None = None
    """... plus this many ..."""
    max_length: int | None = None
    """... and at most this many."""
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
        from transformer.api import Trained

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
        from transformer.commands.lines import Task, translate

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
        from transformer.commands.lines import Scoring, score

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
    cluster: Cluster = field(default_factory=Cluster)
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)

    def __call__(self) -> None:
        from transformer.commands.workflow import evaluate

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
