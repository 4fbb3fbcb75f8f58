"""`transformer evaluate`."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from transformer.commands.options import Command, Model, RunFolder, Search
from transformer.distributed.config import Cluster
from transformer.errors import UsageError
from transformer.storage.run import Run

if TYPE_CHECKING:
    from transformer.api import TrainedModel
    from transformer.data.corpora.corpus import Corpus


@dataclass(frozen=True)
class Evaluate(Command):
    """Score a run on its test set: BLEU, chrF and TER with signatures, BLEU by source length, perplexity.

    Writes the translations and the scores to the run's report/ folder.
    """

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
        self.search.check(self.run, alone=not self.model.ensemble)

    def execute(self) -> None:
        from transformer.distributed import processes
        from transformer.evaluation import report

        model, search = self.model.load(self.run), self.search.overrides()
        folder = Run(Path(self.run)).report
        if self.model.ensemble:  # the report of the run by itself stays
            folder /= "with-" + "-".join(Path(other).name for other in self.model.ensemble)
        sets = _sets(self, model)
        text = [part.sources for part in sets], [part.targets for part in sets]
        digest = hashlib.sha256(json.dumps(text).encode()).hexdigest()
        processes.require_same(search | {"checkpoint": model.checkpoint, "source": digest, "tokenize": self.tokenize})
        for part, against in zip(sets, [self.against] + [""] * len(sets), strict=False):
            result = report.evaluate(
                model,
                part,
                folder,
                against=against,
                tokenize=self.tokenize,
                lowercase=self.lowercase,
                search=search,
            )
            if processes.is_main_process():
                print(report.show(result))


def _sets(options: Evaluate, model: "TrainedModel") -> "list[Corpus]":
    """What is to be translated and scored."""
    from transformer.data.corpora import corpus
    from transformer.data.corpora.files import read_parallel

    if options.source:
        sources, references = read_parallel(Path(options.source), Path(options.reference))
        return [corpus.Corpus(sources, references, None, Path(options.source).name)]
    folder, languages = Run(Path(options.run)).data, model.settings.data.languages
    sets = [corpus.read_or_validation(folder, options.split, languages)]
    if options.split == "test" and corpus.exists(folder, "unseen", languages):
        sets.append(corpus.read(folder, "unseen", languages))
    return sets
