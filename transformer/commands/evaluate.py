"""`transformer evaluate`."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from transformer.commands.options import SEARCH_MEMORY, Command, Model, RunFolder, Search
from transformer.config import read_config
from transformer.distributed.config import Cluster
from transformer.errors import TransformerError, UsageError
from transformer.storage.run import Run
from transformer.tasks.task import Split
from transformer.tasks.translation.config import Translation

if TYPE_CHECKING:
    from transformer.api import LoadedPredictor, TrainedModel
    from transformer.evaluation.report import Baseline


@dataclass(frozen=True)
class Evaluate(Command):
    """Score a run on its test set; of translation: BLEU, chrF and TER with signatures, BLEU by length, perplexity.

    Writes the predictions and the scores to the run's report/ folder.
    """

    memory = SEARCH_MEMORY
    run: RunFolder
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets. The grammar's test set is followed by its split of unseen constructions."""
    source: str = ""
    """Another source file (with --reference) instead of the run's own."""
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

    def check(self) -> None:
        if bool(self.source) != bool(self.reference):
            raise UsageError("--source and --reference go together")
        if self._translates:
            self.search.check(self.run, alone=not self.model.ensemble)
            return
        given = {
            "--tokenize": self.tokenize != "13a",
            "--lowercase": self.lowercase,
            "--ensemble": bool(self.model.ensemble),
            **{f"--{name.replace('_', '-')}": True for name in self.search.overrides()},
        }
        for flag in (flag for flag, present in given.items() if present):
            raise UsageError(f"{flag} is an option of translation, and {self.run} has another task: leave it out")

    @property
    def _translates(self) -> bool:
        return isinstance(read_config(Path(self.run)).task, Translation)

    def execute(self) -> None:
        from transformer import api
        from transformer.distributed import processes
        from transformer.evaluation import report

        splits, search = _splits(self), self.search.overrides()
        folder = Run(Path(self.run)).report
        if self.model.ensemble:  # the report of the run by itself stays
            folder /= "with-" + "-".join(Path(other).name for other in self.model.ensemble)
        if self._translates:
            options = search | {"tokenize": self.tokenize, "lowercase": self.lowercase}
            model: TrainedModel | LoadedPredictor = self.model.load(self.run)
        else:
            options, model = {}, api.load_predictor(self.run, self.model.checkpoint)
        text = [split.lines for split in splits], [split.references for split in splits]
        digest = hashlib.sha256(json.dumps(text).encode()).hexdigest()
        processes.require_same(search | {"checkpoint": model.checkpoint, "source": digest, "tokenize": self.tokenize})
        for split, against in zip(splits, [self.against] + [""] * len(splits), strict=False):
            baseline = _baseline(against, split) if against else None
            evaluation = model.evaluate(split, baseline=baseline, **options)
            report.write(folder, evaluation)
            if processes.is_main_process():
                print(report.show(evaluation.result))


def _splits(options: Evaluate) -> list[Split]:
    """What is to be predicted and scored."""
    from transformer.data.corpora.files import read_parallel

    if options.source:
        lines, references = read_parallel(Path(options.source), Path(options.reference))
        return [Split(Path(options.source).name, lines, references)]
    return _own_splits(options.run, options.split)


def _own_splits(run: str, name: str) -> list[Split]:
    settings = read_config(Path(run))
    return settings.task.predictor(settings, Path(run)).splits(name)


def _baseline(against: str, split: Split) -> "Baseline":
    """Predictions to compare with: a file of lines, or the report of another run on the same set.

    Raises TransformerError if the run was not evaluated on the set, or on one with other references.
    """
    from transformer.data.corpora.files import read_lines
    from transformer.evaluation.report import Baseline

    path = Path(against)
    if path.is_dir():
        path = Run(path).report / f"{split.name}.hypotheses"
        if not path.is_file():
            raise TransformerError(f"{against} has no {path.name} yet: run `transformer evaluate {against}` first")
        if list(_own_splits(against, split.name)[0].references) != list(split.references):
            raise TransformerError(f"{against} was evaluated on another {split.name} set than this run")
    return Baseline(str(path), read_lines(path))
