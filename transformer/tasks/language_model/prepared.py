"""What training needs to learn a language model: the loss, batches, and validation."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from transformer.config import Config
from transformer.data.batching.batches import each_once
from transformer.data.batching.buckets import Bucket, choose_buckets, within
from transformer.data.batching.epochs import EpochSource
from transformer.data.batching.packing import segment_lengths
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.data.examples import Examples
from transformer.data.tokenizers.files import save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.models.build import create
from transformer.models.config import SequenceToSequence
from transformer.nn.losses import cross_entropy
from transformer.storage.run import Run
from transformer.tasks.language_model.config import LanguageModel
from transformer.tasks.language_model.scoring import TextScorer
from transformer.tasks.language_model.text import Batch, assemble, assemble_packed, shift_of

LANGUAGES = ("prompt", "text")
"""Extensions of the files that a run keeps of its validation and test set."""


@dataclasses.dataclass(frozen=True)
class PreparedLanguageModel:
    """Implements `tasks.task.Prepared`."""

    settings: Config
    tokenizers: Tokenizers
    """The same one twice."""
    epochs: EpochSource
    validation_examples: Examples
    held_out: Mapping[str, Corpus]
    """Empty prompts and texts of the validation and the test set."""
    identity: dict[str, str]
    unit = "tokens"
    metric = "loss"

    @property
    def task(self) -> LanguageModel:
        assert isinstance(self.settings.task, LanguageModel)
        return self.settings.task

    @property
    def model(self) -> SequenceToSequence:
        assert isinstance(self.settings.model, SequenceToSequence)
        return self.settings.model

    def save(self, run: Path) -> None:
        """See `Prepared.save`."""
        save_tokenizers(self.tokenizers, Run(run).tokenizer)
        for part in self.held_out.values():
            corpus.write(part, Run(run).data, LANGUAGES)

    def build_model(self, **how: Any) -> Any:
        """See `Prepared.build_model`."""
        size = self.tokenizers.source.size
        return create(self.model, size, size, self.settings.seed, **how)

    def batch(self, examples: Examples, bucket: Bucket, ids: Any, *, epoch: int, rows: Any = None) -> Batch:
        """See `Prepared.batch`; where blocks begin is drawn for each epoch."""
        if self.settings.batching.pack:
            return assemble_packed(examples, bucket, ids, rows)
        file = self.task.texts == "file"
        shift = shift_of(self.settings.seed, epoch, self.task.block) if file else 0
        return assemble(examples, bucket, ids, rows, shift=shift)

    def counts(self, batch: Batch) -> dict[str, Array]:
        """Tokens of a whole batch."""
        return {"tokens": (batch.outputs != 0).sum()}

    def loss(self, model: Any, batch: Batch, counts: dict[str, Array], key: Array) -> tuple[Array, Any]:
        """The mean over tokens of the cross-entropy."""
        memory, packed = model.without_source(len(batch.inputs)), {}
        if batch.segments is not None:
            memory = memory._replace(segments=jnp.zeros(memory.mask.shape, jnp.int32))
            packed = {"segments": batch.segments}
        hidden, _ = model.decode(memory, batch.inputs, key, **packed)
        smoothing, chunk = self.task.label_smoothing, self.settings.training.loss_chunk
        total, nll = cross_entropy(model.output, hidden, batch.outputs, smoothing=smoothing, chunk=chunk)
        return total / counts["tokens"], {"tokens": {"nll": nll.sum(), "loss": total}}

    def operations(self, batch: Batch) -> float:
        """See `Prepared.operations`."""
        lengths = (batch.outputs != 0).sum(1) if batch.segments is None else segment_lengths(batch.segments)
        size = self.tokenizers.source.size
        # Forward 2 operations for each multiplication, backward 4.
        return 6.0 * float(self.model.decoder_multiplications(0 * lengths, lengths, size))

    def validation(self, build: Callable[[Any], Any], mesh: Any) -> Callable[[Any], dict[str, float]]:
        """The loss and the perplexity of the validation set, per token."""
        settings, examples = self.settings, self.validation_examples
        batching, multiple = within(settings.batching, self.model.max_length), settings.batching.batch_multiple
        shapes = choose_buckets(examples.lengths, batching, multiple) if batching.pack else self.epochs.buckets
        plan = each_once(examples.lengths, batching, shapes, multiple)
        scorer = TextScorer(build, mesh, settings.training.loss_chunk)

        def validate(parameters: Any) -> dict[str, float]:
            began = time.perf_counter()
            logp = scorer.score(parameters, examples, plan)
            loss = -sum(float(each.sum()) for each in logp) / sum(map(len, logp))
            return {"loss": loss, "perplexity": math.exp(min(loss, 700)), "seconds": time.perf_counter() - began}

        return validate

    def quality(self, measures: Mapping[str, float]) -> float:
        """Minus the loss."""
        return -measures["loss"]

    def close(self) -> None:
        """See `Prepared.close`."""
        self.epochs.close()
