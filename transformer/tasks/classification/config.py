"""Settings of classification: a text to its label."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval

from transformer.errors import UsageError
from transformer.tasks.task import Predictor, Prepared, Task

if TYPE_CHECKING:
    from transformer.evaluation.measures import Measure


@dataclass(frozen=True)
class Classification(Task):
    """A text to its label. The labels are those of the training text, one in each line of the target's file."""

    label_smoothing: Annotated[float, Interval(ge=0, le=0.999)] = 0.0
    """Share of each label's probability that is spread over all labels (Szegedy 2016, section 7)."""
    metric: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    """What `best` means, and what patience watches, on the validation set."""

    def check(self, config: Any) -> None:
        """See `Task.check`."""
        if not hasattr(config.model, "pooling"):
            raise UsageError(
                f"--task is classification, and a {type(config.model).__name__} has no labels: give a recipe whose "
                "model is a Classifier, such as grammar_classification"
            )
        refused = {
            "--data.alignments": config.data.alignments,
            "--tokenizer.sampling": config.tokenizer.sampling,
            "--batching.pack": config.batching.pack,
        }
        for flag, given in refused.items():
            if given:
                raise UsageError(f"{flag} applies to translation only, and --task is classification: leave it out")

    def measures(self) -> "Mapping[str, Measure]":
        """See `Task.measures`."""
        from transformer.tasks.classification.scoring import MEASURES

        return MEASURES

    def prepare(self, config: Any, begun: Path | None) -> Prepared:
        """See `Task.prepare`."""
        from transformer.tasks.classification.prepare import prepare

        return prepare(config, begun)

    def predictor(self, config: Any, run: Path) -> Predictor:
        """See `Task.predictor`."""
        from transformer.tasks.classification.predictor import ClassificationPredictor

        return ClassificationPredictor(config, run)
