"""A trained run of language modelling: continuations of prompts, and how well text is predicted."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer.config import Config
from transformer.data.batching.batches import each_once
from transformer.data.batching.buckets import choose_buckets, within
from transformer.data.corpora import corpus
from transformer.data.tokenizers.files import load_tokenizers
from transformer.decoding.remarks import remark
from transformer.evaluation.measures import Counts, Measure
from transformer.models.build import create
from transformer.models.config import SequenceToSequence
from transformer.plurals import counted
from transformer.special_tokens import UNK
from transformer.storage.run import Run
from transformer.tasks.language_model.config import LanguageModel
from transformer.tasks.language_model.generate import Generator
from transformer.tasks.language_model.prepare import examples
from transformer.tasks.language_model.prepared import LANGUAGES
from transformer.tasks.language_model.scoring import MEASURES, TextScorer, counts, perplexities
from transformer.tasks.language_model.text import from_line, to_line
from transformer.tasks.task import Extras, Prediction, Split


class LanguageModelPredictor:
    """Implements `tasks.task.Predictor`."""

    measures: Mapping[str, Measure] = MEASURES

    def __init__(self, config: Config, run: Path):
        """Raises TransformerError where the tokenizer of the run is damaged."""
        assert isinstance(config.model, SequenceToSequence)
        assert isinstance(config.task, LanguageModel)
        self.config, self.model, self.task = config, config.model, config.task
        self.run = Run(run)
        self.tokenizer = load_tokenizers(self.run.tokenizer).source
        self._generator: tuple[Any, Any, Generator] | None = None

    @property
    def context(self) -> int:
        """Tokens that the model was trained to read."""
        return self.task.block if self.task.texts == "file" else self.config.data.max_length

    def build_model(self) -> Any:
        """See `Predictor.build_model`."""
        return create(self.model, self.tokenizer.size, self.tokenizer.size, self.config.seed)

    def splits(self, name: str) -> list[Split]:
        """See `Predictor.splits`: texts, each after an empty prompt."""
        found = corpus.read_or_validation(self.run.data, name, LANGUAGES)
        return [Split(found.name, found.sources, found.targets)]

    def predict(
        self, build: Callable[[Any], Any], mesh: Any, parameters: Any, lines: Sequence[str], first: int = 1
    ) -> list[Prediction]:
        """The continuation of each line, of at most `--decoding.max-length` tokens (0: the context of the model)."""
        file = self.task.texts == "file"
        prompts = self.tokenizer.encode_all([from_line(line) for line in lines] if file else lines)
        unknown = [number for number, tokens in enumerate(prompts, first) if UNK in tokens]
        remark("prompts with words or letters that the model does not know, read as its unknown token", unknown)
        long = [number for number, tokens in enumerate(prompts, first) if len(tokens) >= self.context]
        remark(f"prompts of which only the last tokens are read, as the context has {self.context}", long)
        length = self.config.decoding.max_length or self.context
        found = self._generate_with(build, mesh).continuations(parameters, prompts, self.config.decoding, length, first)
        texts = [self.tokenizer.decode(tokens) for tokens in found]
        return [
            Prediction(to_line(text) if file else " ".join(text.split("\n")), {"tokens": len(tokens)})
            for text, tokens in zip(texts, found, strict=True)
        ]

    def _generate_with(self, build: Callable[[Any], Any], mesh: Any) -> Generator:
        """The generator of a model; the last one is kept, with the programs that it compiled."""
        if self._generator is None or self._generator[:2] != (build, mesh):
            ends, rules = self.task.texts == "lines", self.model.cache_sharding()
            self._generator = build, mesh, Generator(build, mesh, self.context, ends=ends, rules=rules)
        return self._generator[2]

    def statistics(
        self, predictions: Sequence[str], references: Sequence[str], **scoring: Any
    ) -> dict[str, np.ndarray]:
        """See `Predictor.statistics`: nothing is measured of continuations."""
        return {}

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
        """See `Predictor.details`: the perplexities of the references, and the search for the continuations."""
        found = self._counts(build, mesh, parameters, split)
        return {"search": dataclasses.asdict(self.config.decoding), "scores": perplexities(found)}

    def extras(self, build: Callable[[Any], Any], mesh: Any, parameters: Any, split: Split) -> Extras:
        """See `Predictor.extras`: the counts of the perplexities."""
        return Extras(dict(self._counts(build, mesh, parameters, split)), {})

    def _counts(self, build: Callable[[Any], Any], mesh: Any, parameters: Any, split: Split) -> dict[str, np.ndarray]:
        """Nats and units of each text. A text that is longer than the model's limit has neither, and is remarked on."""
        texts = [from_line(one) for one in split.references] if self.task.texts == "file" else list(split.references)
        limit, batching = self.model.max_length, within(self.config.batching, self.model.max_length)
        scorer, found = TextScorer(build, mesh, self.config.training.loss_chunk), list[np.ndarray]()
        if self.task.texts == "file":
            groups = [[one] for one in texts]
        else:
            sizes = [len(tokens) + 1 for tokens in self.tokenizer.encode_all(texts)]
            remark(
                f"texts longer than {counted(limit, 'token')}, which have no score",
                [number for number, size in enumerate(sizes, 1) if size > limit],
            )
            groups = [[one for one, size in zip(texts, sizes, strict=True) if size <= limit]]
        for group in groups:
            made, _ = examples(self.task, self.tokenizer, group, limit)
            if not len(made):
                continue
            shapes = choose_buckets(made.lengths, batching, batching.batch_multiple)
            logp = scorer.score(parameters, made, each_once(made.lengths, batching, shapes, batching.batch_multiple))
            found += [np.concatenate(logp)] if self.task.texts == "file" else logp
        return counts([one for group in groups for one in group], found)
