"""A task and a model family of a user's own: has a sentence an even number of words, by a mean of embeddings.

Lines and labels are parallel files, as for translation; this file is given with --plugin.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformer.data.batching.batches import each_once, pad
from transformer.data.batching.buckets import choose_buckets
from transformer.data.batching.epochs import FixedEpochs
from transformer.data.batching.plan import make_plans
from transformer.data.corpora import corpus
from transformer.data.corpora.load import load_corpora
from transformer.data.examples import Examples, ragged
from transformer.evaluation.measures import Measure, ratio
from transformer.models.config import ModelConfig
from transformer.models.families import FAMILIES
from transformer.storage.run import Run
from transformer.tasks.table import TASKS
from transformer.tasks.task import Extras, Prediction, Split, Task

VOCABULARY = 97
LABELS = ("odd", "even")


@dataclass(frozen=True)
class Means(ModelConfig):
    """The mean of a sentence's embeddings, and a linear layer."""

    width: int = 8
    """Width of the embeddings."""

    def build(self, vocabulary, labels, *, rngs, **_):
        return MeanOfEmbeddings(vocabulary, labels, self.width, rngs=rngs)


class MeanOfEmbeddings(nnx.Module):
    def __init__(self, vocabulary, labels, width, *, rngs):
        self.table = nnx.Param(jax.random.normal(rngs.params(), (vocabulary, width)))
        self.weights = nnx.Param(jnp.zeros((width, labels)))

    def __call__(self, text):
        real = (text != 0)[..., None]
        return (self.table[...][text] * real).sum(1) / jnp.maximum(real.sum(1), 1) @ self.weights[...]


@dataclass(frozen=True)
class EvenWords(Task):
    """Whether a sentence has an even number of words."""

    smoothing: float = 0.0
    """Of the labels."""

    def prepare(self, config, begun):
        corpora = load_corpora(config.data)
        train = examples_of(corpora.train.sources, corpora.train.targets)
        multiple = config.batching.batch_multiple
        buckets = choose_buckets(train.lengths, config.batching, multiple)
        epochs = FixedEpochs(train, make_plans(train.lengths, buckets, config.seed))
        return PreparedEvenWords(config, corpora, epochs, {"train": str(len(train))})

    def measures(self):
        return {"accuracy": Measure(ratio)}

    def predictor(self, config, run):
        return EvenWordsPredictor(config, Run(run))


class Batch(NamedTuple):
    text: np.ndarray
    label: np.ndarray
    real: np.ndarray


def ids_of(line):
    return [1 + sum(map(ord, word)) % (VOCABULARY - 1) for word in line.split()]


def examples_of(lines, labels):
    numbers = np.array([LABELS.index(label) for label in labels], np.int32)
    return Examples({"text": ragged([ids_of(line) for line in lines]), "label": numbers})


def assemble(examples, bucket, ids, rows=None):
    if rows is not None:
        bucket, ids = bucket._replace(rows=len(rows)), ids[rows[rows < len(ids)]]
    text, _ = pad(examples["text"], bucket.rows, bucket.lengths[0], ids)
    label, real = np.zeros(bucket.rows, np.int32), np.arange(bucket.rows) < len(ids)
    label[: len(ids)] = examples["label"][ids]
    return Batch(text, label, real)


@dataclass(frozen=True)
class PreparedEvenWords:
    config: Any
    corpora: Any
    epochs: FixedEpochs
    identity: dict
    unit = "examples"
    metric = "accuracy"

    def save(self, run):
        for part in (self.corpora.validation, self.corpora.test):
            corpus.write(part, Run(run).data, self.config.data.languages)

    def build_model(self, **how):
        return self.config.model.build(VOCABULARY, len(LABELS), rngs=nnx.Rngs(self.config.seed), **how)

    def batch(self, examples, bucket, ids, *, epoch, rows=None):
        return assemble(examples, bucket, ids, rows)

    def counts(self, batch):
        return {"examples": batch.real.sum()}

    def loss(self, model, batch, counts, key):
        logp = jax.nn.log_softmax(model(batch.text))
        nll = -jnp.take_along_axis(logp, batch.label[:, None], 1)[:, 0]
        total = ((1 - self.config.task.smoothing) * nll - self.config.task.smoothing * logp.mean(1)) @ batch.real
        return total / counts["examples"], {"examples": {"loss": total}}

    def operations(self, batch):
        return 6.0 * batch.text.size * self.config.model.width

    def validation(self, build, mesh):
        held_out = examples_of(self.corpora.validation.sources, self.corpora.validation.targets)
        batches = each_once(held_out.lengths, self.config.batching, self.epochs.buckets, 1)
        logits = jax.jit(lambda parameters, text: build(parameters)(text))

        def validate(parameters):
            loss = right = 0.0
            for bucket, ids in batches:
                batch = assemble(held_out, bucket, ids)
                logp = np.asarray(jax.nn.log_softmax(logits(parameters, batch.text)))[: len(ids)]
                labels = batch.label[: len(ids)]
                loss -= logp[np.arange(len(ids)), labels].sum()
                right += (logp.argmax(1) == labels).sum()
            return {"loss": float(loss) / len(held_out), "accuracy": 100 * float(right) / len(held_out)}

        return validate

    def quality(self, measures):
        return measures["accuracy"]

    def close(self):
        pass


@dataclass(frozen=True)
class EvenWordsPredictor:
    config: Any
    run: Run

    @property
    def measures(self):
        return self.config.task.measures()

    def build_model(self):
        return self.config.model.build(VOCABULARY, len(LABELS), rngs=nnx.Rngs(self.config.seed))

    def splits(self, name):
        found = corpus.read_or_validation(self.run.data, name, self.config.data.languages)
        return [Split(found.name, found.sources, found.targets)]

    def predict(self, build, mesh, parameters, lines, first=1):
        model, answers = build(parameters), []
        for line in lines:
            p = jax.nn.softmax(model(jnp.array([ids_of(line) or [0]])))[0]
            answers.append(Prediction(LABELS[int(p.argmax())], {"p": round(float(p.max()), 6)}))
        return answers

    def statistics(self, predictions, references, **scoring):
        right = [one == other for one, other in zip(predictions, references, strict=True)]
        return {"accuracy": np.stack([np.array(right, np.int64), np.ones(len(right), np.int64)], 1)}

    def details(self, *given, **scoring):
        return {}

    def extras(self, *given):
        return Extras({}, {})


FAMILIES["means"] = Means
TASKS["even_words"] = EvenWords
