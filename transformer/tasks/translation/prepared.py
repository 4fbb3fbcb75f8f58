"""What training needs to learn translation: the loss, batches, and validation."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array

from transformer.alignment.readouts.names import FULL_CONTEXT
from transformer.config import Config
from transformer.data.batching.batches import each_once
from transformer.data.batching.buckets import Bucket, choose_buckets, within
from transformer.data.batching.epochs import EpochSource
from transformer.data.batching.packing import segment_lengths
from transformer.data.batching.pairs import Batch, assemble, assemble_packed
from transformer.data.batching.plan import Plan
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpora
from transformer.data.examples import Examples
from transformer.data.tokenizers.files import save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.decoding.remarks import collected
from transformer.decoding.scoring import Scorer
from transformer.decoding.translator import Translator
from transformer.evaluation.metrics import bleu
from transformer.models.build import create
from transformer.models.config import SequenceToSequence
from transformer.storage.run import Run
from transformer.tasks.translation.config import Translation
from transformer.tasks.translation.loss import TranslationLoss


@dataclasses.dataclass(frozen=True)
class PreparedTranslation:
    """Implements `tasks.task.Prepared`."""

    settings: Config
    tokenizers: Tokenizers
    examples: Examples
    """For training, without sampling."""
    plan: Plan
    """For the first epoch; for every epoch, unless pieces are sampled."""
    epochs: EpochSource
    validation_examples: Examples
    corpora: Corpora
    identity: dict[str, str]
    """Hashes of the tokenizers and of the data; a resumed run must have the same."""
    unit = "tokens"

    @property
    def task(self) -> Translation:
        assert isinstance(self.settings.task, Translation)
        return self.settings.task

    @property
    def model(self) -> SequenceToSequence:
        assert isinstance(self.settings.model, SequenceToSequence)
        return self.settings.model

    @property
    def metric(self) -> str:
        """See `Prepared.metric`."""
        return self.task.metric

    def save(self, run: Path) -> None:
        """Write tokenizers, validation and test text into the run directory, so that later commands need nothing
        else."""
        save_tokenizers(self.tokenizers, Run(run).tokenizer)
        for part in (self.corpora.validation, self.corpora.test, self.corpora.unseen):
            if part is not None:
                corpus.write(part, Run(run).data, self.settings.data.languages)

    def build_model(self, **how: Any) -> Any:
        """See `Prepared.build_model`."""
        sizes = self.tokenizers.source.size, self.tokenizers.target.size
        return create(self.model, *sizes, self.settings.seed, **how)

    def batch(self, examples: Examples, bucket: Bucket, ids: Any, *, epoch: int, rows: Any = None) -> Batch:
        """See `Prepared.batch`; nothing is drawn at random here."""
        make = assemble_packed if self.settings.batching.pack else assemble
        return make(examples, bucket, ids, rows)

    def counts(self, batch: Batch) -> dict[str, Array]:
        """See `TranslationLoss.counts`."""
        return self._loss.counts(batch)

    def loss(self, model: Any, batch: Batch, counts: dict[str, Array], key: Array) -> tuple[Array, Any]:
        """See `TranslationLoss.loss`."""
        return self._loss.loss(model, batch, counts, key)

    @property
    def _loss(self) -> TranslationLoss:
        return TranslationLoss.of(self.settings)

    def operations(self, batch: Batch) -> float:
        """See `Prepared.operations`."""
        if batch.segments is None:
            source, target = (batch.source != 0).sum(1), (batch.target_out != 0).sum(1)
        else:
            source, target = map(segment_lengths, batch.segments)
        multiplications = self.model.multiplications(source, target, self.tokenizers.target.size)
        if self.task.guided.by == FULL_CONTEXT:
            multiplications += self.model.decoder_multiplications(source, target, 0)
        # Forward 2 operations for each multiplication, backward 4.
        return 6.0 * float(multiplications)

    def validation(self, build: Callable[[Any], Any], mesh: Any) -> Callable[[Any], dict[str, float]]:
        """Validation loss, and BLEU of greedy translations of the first sentences."""
        settings, examples = self.settings, self.validation_examples
        batching, multiple = within(settings.batching, self.model.max_length), settings.batching.batch_multiple
        shapes = choose_buckets(examples.lengths, batching, multiple) if batching.pack else self.epochs.buckets
        fixed = each_once(examples.lengths, batching, shapes, multiple)
        scorer = Scorer(build, mesh, settings.training.loss_chunk)
        translator = Translator(
            build,
            self.tokenizers,
            mesh,
            max_length=self.model.max_length,
            reach=self.model.attention.reach,
            rules=self.model.cache_sharding(),
        )
        count, held_out = self.task.validate_sentences, self.corpora.validation
        sources, references = held_out.sources[:count], held_out.targets[:count]
        reported = False
        greedy = dataclasses.replace(settings.decoding, beam=1, n_best=1, samples=0, mbr="none")

        def validate(parameters: Any) -> dict[str, float]:
            nonlocal reported
            began = time.perf_counter()
            loss = scorer.score(parameters, examples, fixed).loss
            values = {"loss": loss, "perplexity": math.exp(min(loss, 700))}
            if sources:
                with collected() as remarks:
                    found = translator.translate(parameters, sources, greedy)
                if not reported:  # they are the same at every validation
                    remarks.report()
                    reported = True
                values["bleu"] = bleu([best.text for best, *_ in found], references)
            return values | {"seconds": time.perf_counter() - began}

        return validate

    def quality(self, measures: Mapping[str, float]) -> float:
        """BLEU, or minus the loss."""
        return measures["bleu"] if self.metric == "bleu" else -measures["loss"]

    def close(self) -> None:
        """See `Prepared.close`."""
        self.epochs.close()
