"""A trained run of translation: its model, its test sets, and translations of lines."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer.alignment.extract import Extractor
from transformer.alignment.gold import Reference, read_own
from transformer.alignment.links import Rule
from transformer.alignment.record import Attended
from transformer.config import Config
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.data.tokenizers.files import load_tokenizers
from transformer.decoding.scoring import Scorer
from transformer.decoding.translator import Translator
from transformer.evaluation.measures import Counts, Measure
from transformer.models.build import create
from transformer.models.config import SequenceToSequence
from transformer.storage.run import Run
from transformer.tasks.task import Extras, Prediction, Split
from transformer.tasks.translation.attention import best_rule, error_rates
from transformer.tasks.translation.config import Translation
from transformer.tasks.translation.scoring import MEASURES, SCORES, details, statistics
from transformer.tasks.translation.teacher_forcing import attend, score


class TranslationPredictor:
    """Implements `tasks.task.Predictor`."""

    def __init__(self, config: Config, run: Path):
        """Raises TransformerError if the tokenizers of the run are damaged."""
        assert isinstance(config.model, SequenceToSequence)
        self.config, self.model = config, config.model
        self.run = Run(run)
        self.tokenizers = load_tokenizers(self.run.tokenizer)
        self.measures: Mapping[str, Measure] = MEASURES | SCORES
        self._translator: tuple[Any, Any, Translator] | None = None
        self._rule: tuple[Any, Rule | None] | None = None

    def build_model(self) -> Any:
        """See `Predictor.build_model`."""
        sizes = self.tokenizers.source.size, self.tokenizers.target.size
        return create(self.model, *sizes, self.config.seed)

    def splits(self, name: str) -> list[Split]:
        """See `Predictor.splits`. The grammar's test set is followed by its split of unseen constructions."""
        found = corpus.read_for_report(self.run.data, name, self.config.data.languages)
        return [Split(part.name, part.sources, part.targets) for part in found]

    def predict(
        self, build: Callable[[Any], Any], mesh: Any, parameters: Any, lines: Sequence[str], first: int = 1
    ) -> list[Prediction]:
        """The best translation of each line, by the search of the run's settings, with its score and
        log-probability."""
        found = self._translate_with(build, mesh).translate(parameters, lines, self.config.decoding, first)
        return [Prediction(best.text, {"score": best.score, "logp": best.logp}) for best, *_ in found]

    def _translate_with(self, build: Callable[[Any], Any], mesh: Any) -> Translator:
        """The translator of a model; the last one is kept, with the programs that it compiled."""
        if self._translator is None or self._translator[:2] != (build, mesh):
            model = self.model
            translator = Translator(
                build,
                self.tokenizers,
                mesh,
                max_length=model.max_length,
                reach=model.attention.reach,
                rules=model.cache_sharding(),
            )
            self._translator = build, mesh, translator
        return self._translator[2]

    def statistics(
        self, predictions: Sequence[str], references: Sequence[str], **scoring: Any
    ) -> dict[str, np.ndarray]:
        """See `Predictor.statistics`: counts of BLEU, chrF2 and TER."""
        return statistics(predictions, references, **scoring)

    def details(
        self,
        build: Callable[[Any], Any],
        mesh: Any,
        parameters: Any,
        split: Split,
        predictions: Sequence[str],
        counts: Counts,
        **scoring: Any,
    ) -> dict[str, Any]:
        """See `Predictor.details`: the search, scores with their signatures, the perplexity and BLEU by length."""
        scorer = Scorer(build, mesh, self.config.training.loss_chunk)
        loss = score(
            scorer,
            parameters,
            self.tokenizers,
            split.lines,
            split.references,
            max_length=self.model.max_length,
            batching=self.config.batching,
        ).loss
        found = details(split.lines, counts, loss, **scoring)
        return {"search": dataclasses.asdict(self.config.decoding), **found}

    def extras(self, build: Callable[[Any], Any], mesh: Any, parameters: Any, split: Split) -> Extras:
        """See `Predictor.extras`: the alignment error rate of the attention, on test sets with links."""
        if self.model.attention.score == "none":
            return Extras({}, {})
        assert isinstance(self.config.task, Translation)
        by = self.config.task.guided.by
        extractor = Extractor(build, self.tokenizers, mesh, max_length=self.model.max_length)

        def attend_to(sources: Sequence[str], targets: Sequence[str]) -> list[Attended | None]:
            written = self.tokenizers.target.segment_all(targets)
            return attend(extractor, parameters, self.tokenizers, sources, written, by=(by,))

        def read(name: str) -> tuple[Corpus, Reference] | None:
            return read_own(self.run.data, name, self.config.data, self.tokenizers)

        found = read(split.name)
        if found is None:
            return Extras({}, {})
        if self._rule is None or self._rule[0] is not parameters:
            dev = read("validation")
            self._rule = parameters, None if dev is None else best_rule(attend_to, *dev, by)
        rule = self._rule[1]
        return Extras({}, {}) if rule is None else error_rates(attend_to, *found, rule)
