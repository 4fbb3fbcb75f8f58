"""`transformer evaluate`."""

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from transformer.commands.options import SEARCH_MEMORY, Command, Model, RunFolder, Search
from transformer.config import read_config
from transformer.distributed.config import Cluster
from transformer.errors import TransformerError, UsageError
from transformer.storage.run import Run
from transformer.tasks.task import Split
from transformer.tasks.translation.config import METRICS, MetricName, Translation

if TYPE_CHECKING:
    from transformer.api import LoadedPredictor, TrainedModel
    from transformer.evaluation.report import Baseline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluate(Command):
    """Score a run on its test set; for translation: BLEU, chrF and TER with signatures, BLEU by length, perplexity.

    Writes the predictions and the scores to the run's report/ folder: as test.* for the run's own test set, and as
    NAME-DIGEST.* for another one (--source), so that reports of different sets have different names.
    """

    memory = SEARCH_MEMORY
    run: RunFolder
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets. The grammar's test set is followed by its split of unseen constructions."""
    source: str = ""
    """Another source file (with --reference) instead of the run's own."""
    reference: str = ""
    """File of the translations of --source."""
    against: str = ""
    """Another run, or a file of translations of the same set: adds a paired bootstrap test. The other run translates
    the set with the same search options, unless it already has such a report."""
    metrics: tuple[MetricName, ...] = METRICS
    """Scores of translations. TER takes seconds for each sentence of hundreds of words."""
    tokenize: Literal["13a", "none", "intl", "char", "zh"] = "13a"
    """Tokenizer of sacreBLEU; use none to compare with published figures on tokenised text."""
    lowercase: bool = False
    """Ignore case in BLEU and chrF. TER always ignores it, as sacreBLEU does by default."""
    cluster: Cluster = field(default_factory=Cluster)
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)

    def check(self) -> None:
        if bool(self.source) != bool(self.reference):
            raise UsageError("--source and --reference need each other")
        if not self.metrics:
            raise UsageError(f"--metrics has no value: give some of {', '.join(METRICS)}")
        self._check_against()
        if self._translates:
            self.search.check(self.run, alone=not self.model.ensemble)
            return
        given = {
            "--metrics": self.metrics != METRICS,
            "--tokenize": self.tokenize != "13a",
            "--lowercase": self.lowercase,
            "--ensemble": bool(self.model.ensemble),
            **{f"--{name.replace('_', '-')}": True for name in self.search.overrides()},
        }
        for flag in (flag for flag, present in given.items() if present):
            raise UsageError(f"{flag} is an option of translation, and {self.run} has another task: leave it out")

    def _check_against(self) -> None:
        if self._against_run:
            ours, theirs = (type(read_config(Path(run)).task).__name__ for run in (self.run, self.against))
            if ours != theirs:
                raise UsageError(f"--against={self.against} has the task {theirs}, and {self.run} has {ours}: they are "
                                 "not compared")  # fmt: skip
        elif self.against and not Path(self.against).exists():
            raise UsageError(f"--against={self.against}: there is no such run or file")

    @property
    def _against_run(self) -> bool:
        return bool(self.against) and Path(self.against).is_dir()

    @property
    def _translates(self) -> bool:
        return isinstance(read_config(Path(self.run)).task, Translation)

    def execute(self) -> None:
        from transformer import api
        from transformer.data.corpora.files import read_lines
        from transformer.distributed import processes
        from transformer.evaluation import report
        from transformer.evaluation.report import Baseline

        splits, search = _splits(self), self.search.overrides()
        folder = Run(Path(self.run)).report
        if self.model.ensemble:  # the run's own report stays
            folder /= "with-" + "-".join(Path(member).name for member in self.model.ensemble)
        options: dict[str, Any] = {}
        other: TrainedModel | LoadedPredictor | None = None
        if self._translates:
            scoring = {"tokenize": self.tokenize, "lowercase": self.lowercase, "metrics": self.metrics}
            options = search | scoring
            model: TrainedModel | LoadedPredictor = self.model.load(self.run)
            other = api.load(self.against) if self._against_run else None
        else:
            model = api.load_predictor(self.run, self.model.checkpoint)
            other = api.load_predictor(self.against) if self._against_run else None
        lines = read_lines(Path(self.against)) if self.against and other is None else None
        text = [split.lines for split in splits], [split.references for split in splits]
        digest = hashlib.sha256(json.dumps(text).encode()).hexdigest()
        processes.require_same({"checkpoint": model.checkpoint, "source": digest, **options})
        for number, split in enumerate(splits):
            baseline = None
            if other is not None:
                baseline = self._evaluated_by(other, split, search, options)
            elif lines is not None and number == 0:
                baseline = Baseline(self.against, lines)
            evaluation = model.evaluate(split, baseline=baseline, **options)
            if self.model.ensemble:
                members = [str(Path(member).resolve()) for member in self.model.ensemble]
                evaluation = evaluation._replace(result=evaluation.result | {"ensemble": members})
            report.write(folder, evaluation)
            if processes.is_main_process():
                print(report.show(evaluation.result))

    def _evaluated_by(
        self, other: "TrainedModel | LoadedPredictor", split: Split, search: dict[str, Any], options: dict[str, Any]
    ) -> "Baseline":
        """Predictions of another run for the same lines: those of its report of this very set, or new ones. New ones
        are added to its reports if the name is free."""
        from transformer.distributed import processes
        from transformer.evaluation import report
        from transformer.evaluation.report import Baseline

        folder, about = Run(Path(self.against)).report, other.about(**search)
        known = report.find(folder, split.lines, split.references, about)
        processes.require_same({"against": None if known is None else known.name})
        if known is not None:
            source = f"from its report {known.name}"
            return Baseline(self.against, known.predictions, {**about, "source": source})
        log.info("%s has no report of this set with these settings: predicting the set with it", self.against)
        name = split.name
        if not self.source and not _is_own(self.against, split):
            name = report.name_of_other(*split)
        evaluation = other.evaluate(split._replace(name=name), **options)
        try:
            kept = report.write(folder, evaluation, replace=False)
            source = f"predicted now, kept as its report {name}.json" if kept else (
                f"predicted now, not kept: it has another report {name}.json"
            )  # fmt: skip
        except OSError as error:
            source = f"predicted now, not kept: {error.strerror or error}"
        return Baseline(self.against, evaluation.predictions, {**about, "source": source}, evaluation.counts)


def _splits(options: Evaluate) -> list[Split]:
    """The set to predict and score."""
    from transformer.data.corpora.files import read_parallel
    from transformer.evaluation.report import name_of_other

    if options.source:
        lines, references = read_parallel(Path(options.source), Path(options.reference))
        return [Split(name_of_other(Path(options.source).name, lines, references), lines, references)]
    return _own_splits(options.run, options.split)


def _own_splits(run: str, name: str) -> list[Split]:
    settings = read_config(Path(run))
    return settings.task.predictor(settings, Path(run)).splits(name)


def _is_own(run: str, split: Split) -> bool:
    """Whether a run has exactly this set under this name."""
    with suppress(TransformerError):
        return any(
            own.name == split.name and list(own.lines) == list(split.lines)
            and list(own.references) == list(split.references) for own in _own_splits(run, split.name)
        )  # fmt: skip
    return False
