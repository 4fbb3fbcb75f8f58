"""What training needs to learn labels: examples, batches, the loss, and validation."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from transformer.config import Config
from transformer.data import pairs
from transformer.data.batching.batches import each_once, pad
from transformer.data.batching.buckets import Bucket, choose_buckets
from transformer.data.batching.epochs import FixedEpochs
from transformer.data.batching.plan import make_plans, shares_of
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpora
from transformer.data.corpora.load import load_corpora
from transformer.data.examples import Examples
from transformer.data.tokenizers.cached import cached_tokenizers
from transformer.data.tokenizers.files import fingerprint, load_tokenizers, save_tokenizers
from transformer.data.tokenizers.labels import LabelTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.distributed import sharding as parallel
from transformer.errors import TransformerError
from transformer.plurals import counted
from transformer.special_tokens import SPECIAL_TOKENS, UNK
from transformer.storage.run import Run
from transformer.tasks.classification.config import Classification
from transformer.tasks.classification.scoring import macro_f1, statistics

log = logging.getLogger(__name__)

FIRST = len(SPECIAL_TOKENS)
"""Id of the first label in the vocabulary of the labels."""


class Batch(NamedTuple):
    """Texts and labels; a row of zeros has weight zero."""

    text: Any
    """[B, S] int32 token ids, each text closed by EOS; 0 pads."""
    label: Any
    """[B] int32, from 0."""


def assemble(examples: Examples, bucket: Bucket, ids: Any, rows: Any = None) -> Batch:
    """The batch of these examples; see `Prepared.batch`."""
    if rows is not None:
        bucket, ids = bucket._replace(rows=len(rows)), ids[rows[rows < len(ids)]]
    text, _ = pad(examples["source"], bucket.rows, bucket.lengths[0], ids)
    target = examples["target"]
    label = np.zeros(bucket.rows, np.int32)
    label[: len(ids)] = target.values[target.offsets[ids]] - FIRST
    return Batch(text, label)


def prepare(settings: Config, begun: Path | None) -> "PreparedClassification":
    """Read or make everything, and report it in the log. Nothing but the cache is written.

    Args:
        settings: of the run.
        begun: a run directory whose tokenizer and labels are used, of a run that is resumed or started from; None makes
            new ones.

    Raises:
        TransformerError: a label of the validation set, or of another run's training text, is not known.
    """
    data, cache = settings.data, Path(settings.data.cache).expanduser()
    corpora = load_corpora(data)
    log.info(
        "corpus: %s, %s",
        counted(len(corpora.train.sources), "training text"),
        counted(len(corpora.validation.sources), "validation text"),
    )
    for name, count in corpora.shared.items():
        log.warning("training texts that are also in the %s set with the same label: %d", name, count)
    if begun is None:
        form = data.filter.normalize
        tokenizers = cached_tokenizers(settings.tokenizer, corpora.train, cache, form, labels=True)
    else:
        tokenizers = load_tokenizers(Run(begun).tokenizer)
    labels = labels_of(tokenizers)
    log.info("vocabulary: %d entries; labels: %s", tokenizers.source.size, ", ".join(labels))
    train = pairs.build(corpora.train, tokenizers, data.max_length, cache)
    for reason, count in (corpora.skipped | train.dropped).items():
        log.warning("left out of training: %s: %s", counted(count, "text"), reason)
    longest = getattr(settings.model, "max_length", data.max_length)
    validation = pairs.build(corpora.validation, tokenizers, longest, cache, "--model.encoder.max-length")
    for reason, count in validation.dropped.items():
        log.warning("left out of the validation: %s: %s", counted(count, "text"), reason)
    for name, examples in (("training", train), ("validation", validation)):
        _check_labels(name, examples, labels)
    assert train.sentences is not None
    edges = np.searchsorted(train.sentences, np.cumsum([0, *corpora.parts]))
    shares = shares_of(np.diff(edges).tolist(), data.weights, data.temperature)
    buckets = choose_buckets(train.lengths, settings.batching, settings.batching.batch_multiple)
    epochs = FixedEpochs(train, make_plans(train.lengths, buckets, settings.seed, shares))
    log.info("batches: %s", epochs.epoch(0)[1].describe(train.lengths))
    identity = {
        "tokenizer": fingerprint(tokenizers),
        "train": " ".join([train.key, *map(str, corpora.parts)]),
        "validation": validation.key,
    }
    return PreparedClassification(settings, tokenizers, labels, epochs, validation, corpora, identity)


def labels_of(tokenizers: Tokenizers) -> list[str]:
    """The labels of a run, in the order of the model's outputs. Raises TransformerError if it has none."""
    if not isinstance(tokenizers.target, LabelTokenizer):
        raise TransformerError("the tokenizers are of another task: they have no labels")
    return tokenizers.target.labels


def _check_labels(name: str, examples: Examples, labels: list[str]) -> None:
    target = examples["target"]
    unknown = np.flatnonzero(np.asarray(target.values)[np.asarray(target.offsets[:-1])] == UNK)
    if len(unknown):
        assert examples.sentences is not None
        line = int(examples.sentences[unknown[0]]) + 1
        raise TransformerError(
            f"{counted(len(unknown), f'{name} text')} with a label that is not one of {', '.join(labels)} "
            f"(first: line {line}): the training text needs every label"
        )


@dataclasses.dataclass(frozen=True)
class PreparedClassification:
    """Implements `tasks.task.Prepared`."""

    settings: Config
    tokenizers: Tokenizers
    labels: list[str]
    epochs: FixedEpochs
    validation_examples: Examples
    corpora: Corpora
    identity: dict[str, str]
    unit = "examples"

    @property
    def task(self) -> Classification:
        assert isinstance(self.settings.task, Classification)
        return self.settings.task

    @property
    def metric(self) -> str:
        """See `Prepared.metric`."""
        return self.task.metric

    def save(self, run: Path) -> None:
        """See `Prepared.save`."""
        save_tokenizers(self.tokenizers, Run(run).tokenizer)
        for part in (self.corpora.validation, self.corpora.test, self.corpora.unseen):
            if part is not None:
                corpus.write(part, Run(run).data, self.settings.data.languages)

    def build_model(self, **how: Any) -> Any:
        """See `Prepared.build_model`."""
        return build_model(self.settings, self.tokenizers, **how)

    def batch(self, examples: Examples, bucket: Bucket, ids: Any, *, epoch: int, rows: Any = None) -> Batch:
        """See `Prepared.batch`; nothing is drawn at random here."""
        return assemble(examples, bucket, ids, rows)

    def counts(self, batch: Batch) -> dict[str, Array]:
        """The number of texts."""
        return {"examples": (batch.text[:, 0] != 0).sum()}

    def loss(self, model: Any, batch: Batch, counts: dict[str, Array], key: Array) -> tuple[Array, Any]:
        """Cross-entropy with label smoothing, the mean over texts."""
        nll, smoothed = losses(model(batch.text, key)[0], batch.label, self.task.label_smoothing)
        real = batch.text[:, 0] != 0
        total = (smoothed * real).sum()
        return total / counts["examples"], {"examples": {"loss": total, "nll": (nll * real).sum()}}

    def operations(self, batch: Batch) -> float:
        """See `Prepared.operations`."""
        model: Any = self.settings.model
        lengths = (batch.text != 0).sum(1)
        return 6.0 * float(model.multiplications(lengths, len(self.labels)))

    def validation(self, build: Callable[[Any], Any], mesh: Any) -> Callable[[Any], dict[str, float]]:
        """The loss, accuracy and macro F1 of the validation set."""
        examples, batching = self.validation_examples, self.settings.batching
        batches = each_once(examples.lengths, batching, self.epochs.buckets, batching.batch_multiple)
        classify = classifier(build, mesh)

        def validate(parameters: Any) -> dict[str, float]:
            nll, found, actual = 0.0, [], []
            for bucket, ids in batches:
                labels = assemble(examples, bucket, ids).label[: len(ids)]
                logp, _ = classify(parameters, examples, bucket, ids)
                nll -= float(logp[np.arange(len(ids)), labels].sum())
                found += [self.labels[n] for n in logp.argmax(1)]
                actual += [self.labels[n] for n in labels]
            counts = statistics(self.labels, found, actual)
            right, total = counts["accuracy"].sum(0)
            f1 = float(macro_f1(counts["macro F1"].sum(0).astype(np.float64)))
            return {"loss": nll / len(actual), "accuracy": 100 * float(right / total), "macro_f1": f1}

        return validate

    def quality(self, measures: Mapping[str, float]) -> float:
        """See `Prepared.quality`."""
        return -measures["loss"] if self.metric == "loss" else measures[self.metric]

    def close(self) -> None:
        """See `Prepared.close`."""
        self.epochs.close()


def build_model(settings: Config, tokenizers: Tokenizers, **how: Any) -> Any:
    """A model of a run's shape, with parameters drawn from its seed."""
    model: Any = settings.model
    return model.build(tokenizers.source.size, len(labels_of(tokenizers)), rngs=nnx.Rngs(settings.seed), **how)


def losses(
    logits: Float[Array, "B C"], labels: Int[Array, "B"], smoothing: float
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Negative log-likelihood of each label, and what is minimised: the same with label smoothing."""
    logp = jax.nn.log_softmax(logits)
    nll = -jax.numpy.take_along_axis(logp, labels[:, None], 1)[:, 0]
    return nll, (1 - smoothing) * nll - smoothing * logp.mean(-1)


def classifier(build: Callable[[Any], Any], mesh: Any) -> Callable[..., tuple[np.ndarray, np.ndarray | None]]:
    """A function from parameters and a batch of examples to log-probabilities [n, C], and the weights [n, S] of tokens
    where the pooling is attention."""

    def run(parameters: Any, text: Array) -> Any:
        logits, weights = build(parameters)(text)
        return jax.nn.log_softmax(logits), weights

    program = jax.jit(run, out_shardings=parallel.replicated(mesh))

    def classify(parameters: Any, examples: Examples, bucket: Bucket, ids: Any) -> tuple[np.ndarray, np.ndarray | None]:
        own = parallel.local_rows(mesh, parallel.padded_rows(mesh, bucket.rows))
        text = parallel.put_batch(mesh, assemble(examples, bucket, ids, own).text)
        logp, weights = program(parameters, text)
        return np.asarray(logp)[: len(ids)], None if weights is None else np.asarray(weights)[: len(ids)]

    return classify
