"""The label of each line, with its probability and what the classifier attends to."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer.config import Config
from transformer.data.batching.batches import each_once
from transformer.data.batching.buckets import choose_buckets, within
from transformer.data.corpora import corpus
from transformer.data.examples import Examples, ragged
from transformer.data.tokenizers.files import load_tokenizers
from transformer.decoding.remarks import remark
from transformer.evaluation.measures import Counts, Measure
from transformer.plurals import counted
from transformer.special_tokens import EOS, UNK
from transformer.storage.run import Run
from transformer.tasks.classification.prepare import FIRST, build_model, classifier, labels_of
from transformer.tasks.classification.scoring import MEASURES, confusion, statistics
from transformer.tasks.task import Extras, Prediction, Split


class ClassificationPredictor:
    """Implements `tasks.task.Predictor`."""

    def __init__(self, config: Config, run: Path):
        self.config, self.run = config, Run(run)
        self.tokenizers = load_tokenizers(self.run.tokenizer)
        self.labels = labels_of(self.tokenizers)
        self.measures: Mapping[str, Measure] = MEASURES
        self._classify: tuple[Any, Any, Any] | None = None

    def build_model(self) -> Any:
        """See `Predictor.build_model`."""
        return build_model(self.config, self.tokenizers)

    def splits(self, name: str) -> list[Split]:
        """See `Predictor.splits`. The grammar's test set is followed by its split of unseen constructions."""
        found = corpus.read_for_report(self.run.data, name, self.config.data.languages)
        return [Split(part.name, part.sources, part.targets) for part in found]

    def predict(
        self, build: Callable[[Any], Any], mesh: Any, parameters: Any, lines: Sequence[str], first: int = 1
    ) -> list[Prediction]:
        """The most probable label of each line; its probability as `p`, those of all labels as `probabilities`, and the
        weight of each token as `attention` where the pooling is attention. An empty line has an empty label."""
        model: Any = self.config.model
        tokens = self._tokens(lines, model.max_length, first)
        found = [Prediction("")] * len(lines)
        some = [number for number, ids in enumerate(tokens) if len(ids) > 1]
        if not some:
            return found
        columns = {"source": ragged([tokens[n] for n in some]), "target": ragged([[FIRST, EOS] for _ in some])}
        examples, batching = Examples(columns), within(self.config.batching, model.max_length)
        buckets = choose_buckets(examples.lengths, batching, batching.batch_multiple)
        classify = self._classify_with(build, mesh)
        for bucket, ids in each_once(examples.lengths, batching, buckets, batching.batch_multiple):
            logp, weights = classify(parameters, examples, bucket, ids)
            for row, number in enumerate(ids):
                attention = None if weights is None else weights[row]
                found[some[number]] = self._prediction(np.exp(logp[row]), tokens[some[number]], attention)
        return found

    def _tokens(self, lines: Sequence[str], limit: int, first: int) -> list[list[int]]:
        """Token ids of each line, closed by EOS and cut to the model's limit."""
        rows = self.tokenizers.source.encode_all(lines)
        numbers = range(first, first + len(rows))
        remark(
            f"lines longer than {counted(limit, 'token')}, the model's limit, cut",
            [number for number, ids in zip(numbers, rows, strict=True) if len(ids) >= limit],
        )
        remark(
            "lines with words or letters that the model does not know",
            [number for number, ids in zip(numbers, rows, strict=True) if UNK in ids],
        )
        return [[*ids[: limit - 1], EOS] for ids in rows]

    def _prediction(self, p: np.ndarray, tokens: Sequence[int], weights: np.ndarray | None) -> Prediction:
        fields: dict[str, Any] = {
            "p": round(float(p.max()), 6),
            "probabilities": {label: round(float(each), 6) for label, each in zip(self.labels, p, strict=True)},
        }
        if weights is not None:
            pieces = self.tokenizers.source.pieces(tokens)
            fields["attention"] = [[piece, round(float(w), 6)] for piece, w in zip(pieces, weights, strict=False)]
        return Prediction(self.labels[int(p.argmax())], fields)

    def _classify_with(self, build: Callable[[Any], Any], mesh: Any) -> Any:
        """The programs of a model; the last one's are kept."""
        if self._classify is None or self._classify[:2] != (build, mesh):
            self._classify = build, mesh, classifier(build, mesh)
        return self._classify[2]

    def statistics(
        self, predictions: Sequence[str], references: Sequence[str], **scoring: Any
    ) -> dict[str, np.ndarray]:
        """See `Predictor.statistics`: counts of accuracy and macro F1."""
        return statistics(self.labels, predictions, references)

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
        """See `Predictor.details`: the confusion matrix."""
        return {"confusion": confusion(predictions, split.references)}

    def extras(self, build: Callable[[Any], Any], mesh: Any, parameters: Any, split: Split) -> Extras:
        """See `Predictor.extras`."""
        return Extras({}, {})
