"""The interface of a task for training, and for the commands after it.

Every task maps lines to lines: a sentence to its translation, a text to its label. The training loop knows neither the
task nor the model; a task knows the protocol that its models implement; a model knows neither.

A task is a folder of `tasks/` (or a file of a plugin) and an entry of `tasks.table.TASKS`: its settings, a `Prepared`
for training and a `Predictor` for everything after it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from transformer.errors import UsageError

if TYPE_CHECKING:  # settings are read without JAX
    import numpy as np

    from transformer.data.batching.buckets import Bucket
    from transformer.data.batching.epochs import EpochSource
    from transformer.data.examples import Examples
    from transformer.evaluation.measures import Counts, Measure


class Task:
    """Settings of a task: a frozen dataclass for each, whose fields are options of the command line."""

    searches: ClassVar[bool] = False
    """Whether its predictions are found by a search with the settings of `decoding`."""

    def check(self, config: Any) -> None:
        """Refuse settings that cannot work together with the rest of a `Config`. Raises UsageError with the flag to
        change."""

    def smoke(self) -> "Task":
        """The same task shrunk to seconds."""
        return self

    def prepare(self, config: Any, begun: Path | None) -> "Prepared":
        """Read or make all that training needs, and report it in the log; nothing but the cache is written.

        Args:
            config: of the run.
            begun: a run directory whose tokenizers (labels, ...) are used; None makes new ones.
        """
        raise NotImplementedError

    def measures(self) -> "Mapping[str, Measure]":
        """The measures of predictions by name, the one that decides first.

        A table has a column for each. A study may compare its variants by any of them.
        """
        raise NotImplementedError

    def scoring(self, **options: Any) -> dict[str, Any]:
        """Options of `Predictor.statistics`, completed by their defaults; results record them, and results with others
        are not compared.

        Raises UsageError for an option that the task does not have, or a wrong value.
        """
        if options:
            raise UsageError(f"scoring={options}: predictions of a {type(self).__name__} are scored without options")
        return {}

    def predictor(self, config: Any, run: Path) -> "Predictor":
        """What a trained run needs to predict. Raises TransformerError if the run directory is damaged."""
        raise NotImplementedError


class Loss(Protocol):
    """What a task requires of a model."""

    def counts(self, batch: Any) -> dict[str, Any]:
        """Denominators by name, such as the number of real tokens, of a whole batch."""

    def loss(self, model: Any, batch: Any, counts: dict[str, Any], key: Any) -> tuple[Any, dict[str, dict[str, Any]]]:
        """The rows' share of the loss that is minimised, and what is logged.

        Args:
            model: to be trained.
            batch: rows of a batch.
            counts: of the whole batch, over all devices.
            key: of the dropout.

        Returns:
            A scalar whose sum over all rows is the loss: each of its terms is divided by its own count. And sums for
            the log, `loss` among them, by the count that their mean is over: `{"tokens": {"loss": ..., "nll": ...}}`.
        """


class Prepared(Loss, Protocol):
    """A task's data, and how a model learns from them."""

    @property
    def unit(self) -> str:
        """The unit of the training speed, such as `tokens`; a key of `counts`."""

    @property
    def metric(self) -> str:
        """The measure of the validation that decides which checkpoint is best, by name."""

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of tokenizers and data by name; a resumed run must have the same."""

    @property
    def epochs(self) -> "EpochSource":
        """Examples and plan of every epoch, and the shapes of all batches."""

    def save(self, run: Path) -> None:
        """Write into the run directory what later commands need: tokenizers, validation and test sets."""

    def build_model(self, **how: Any) -> Any:
        """A model with fresh parameters; `how`: precision and remat of training."""

    def batch(self, examples: "Examples", bucket: "Bucket", ids: Any, *, epoch: int, rows: Any = None) -> Any:
        """A NamedTuple of arrays that lead with the bucket's rows; those beyond `ids` have weight zero.

        Random draws depend only on the seed, the epoch and the example, and always fit the bucket.

        Args:
            examples: of the epoch.
            bucket: the shape.
            ids: [n <= rows] which examples; none: all rows are empty, as for the shapes to compile.
            epoch: for random draws.
            rows: the rows of the batch that this process needs, ascending; None for all.
        """

    def operations(self, batch: Any) -> float:
        """Useful operations of an update on a batch: products of matrices on real tokens, forward and backward."""

    def validation(self, build: Callable[[Any], Any], mesh: Any) -> Callable[[Any], dict[str, float]]:
        """A function from parameters to the measures of the validation set, `loss` among them."""

    def quality(self, measures: Mapping[str, float]) -> float:
        """The value of `metric` for a validation; higher is better."""

    def close(self) -> None:
        """Stop background work."""


@dataclass(frozen=True)
class Prediction:
    """The answer to a line."""

    text: str
    """A line."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Further JSON values: a probability, a score."""


class Split(NamedTuple):
    """Lines and their correct answers."""

    name: str
    lines: Sequence[str]
    references: Sequence[str]


class Extras(NamedTuple):
    """Measurements other than those of the predictions."""

    counts: "dict[str, np.ndarray]"
    """Counts [N, K] of further measures of the task, a row for each line."""
    report: dict[str, Any]
    """Further parts of the result, as JSON values."""


class Predictor(Protocol):
    """Predicts with the parameters of a trained run, and measures the predictions."""

    measures: "Mapping[str, Measure]"
    """Those of `Task.measures`, and further ones that only reports have."""

    def build_model(self) -> Any:
        """A model of the run's shape; its parameters do not matter."""

    def splits(self, name: str) -> list[Split]:
        """The run's own set of that name (`validation`, `test`) and what is reported with it."""

    def predict(
        self, build: Callable[[Any], Any], mesh: Any, parameters: Any, lines: Sequence[str], first: int = 1
    ) -> list[Prediction]:
        """The answer to each line, in order; `first` is the number of the first one, for messages."""

    def statistics(
        self, predictions: Sequence[str], references: Sequence[str], **scoring: Any
    ) -> "dict[str, np.ndarray]":
        """Counts [N, K] of the measures that need only predictions and references, a row for each line.

        The sum over any lines gives the measure of these lines, so that intervals and paired tests resample rows.

        Args:
            predictions: a line for each line of input.
            references: as many.
            scoring: see `Task.scoring`.
        """

    def details(
        self,
        build: Callable[[Any], Any],
        mesh: Any,
        parameters: Any,
        split: Split,
        predictions: Sequence[str],
        counts: "Counts",
        **scoring: Any,
    ) -> dict[str, Any]:
        """Further parts of the report of a split, which replace the common parts; {} for none.

        Translation has scores with sacreBLEU's signatures, the perplexity and BLEU by length.

        Args:
            build: makes the model from its parameters.
            mesh: of devices.
            parameters: of the run.
            split: what was predicted.
            predictions: a line for each line of the split.
            counts: of the predictions, as `statistics` returns them.
            scoring: see `Task.scoring`.
        """

    def extras(self, build: Callable[[Any], Any], mesh: Any, parameters: Any, split: Split) -> Extras:
        """What studies record for a split beyond its predictions; `Extras({}, {})` for nothing.

        Translation has the alignment error rate of the attention.
        """
