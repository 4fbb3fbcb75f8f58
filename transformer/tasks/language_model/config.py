"""Settings of language modelling."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Interval

from transformer.errors import UsageError
from transformer.models.config import SequenceToSequence
from transformer.tasks.task import Predictor, Prepared, Task

if TYPE_CHECKING:
    from transformer.evaluation.measures import Measure

REVERSIBLE = ("characters", "byte_bpe")
"""Tokenizers that keep spaces and line breaks."""


@dataclass(frozen=True)
class LanguageModel(Task):
    """A prompt to its continuation: the probability of text, token by token.

    The text is a file (--data.source=files --data.train FILE), or the source side of the sentence pairs of any other
    --data.source.
    """

    texts: Literal["lines", "file"] = "lines"
    """What a text is. lines: every line, closed by an end token; lines do not see one another. file: the whole file
    with its line breaks, cut into blocks."""
    block: Annotated[int, Ge(2)] = 64
    """Length of the blocks of a file in tokens. Where blocks begin is drawn anew in every epoch."""
    label_smoothing: Annotated[float, Interval(ge=0, le=0.999)] = 0.0
    """Share of each token's probability that is spread over the vocabulary."""

    searches = True

    def check(self, config: Any) -> None:
        """See `Task.check`."""
        model, kind = config.model, config.tokenizer.kind
        if not isinstance(model, SequenceToSequence):
            raise UsageError(f"--task is language_model, and a {type(model).__name__} model writes no text: give a Gpt")
        model.check_language_model()
        if config.tokenizer.sampling:
            raise UsageError("--tokenizer.sampling applies to translation only: leave it out")
        if self.texts == "lines":
            return
        if kind not in REVERSIBLE:
            raise UsageError(
                f"--task.texts=file has line breaks, which --tokenizer.kind={kind} loses: give --tokenizer.kind="
                f"{REVERSIBLE[0]}, or --task.texts=lines"
            )
        if config.data.source != "files":
            raise UsageError("--task.texts=file needs --data.source=files and --data.train FILE")
        if config.batching.pack:
            raise UsageError("--task.texts=file has blocks of one length, nothing to pack: give --batching.pack=0")
        if self.block > model.text_length:
            raise UsageError(
                f"--task.block={self.block} is longer than the {model.text_length} positions of --model.max-length="
                f"{model.max_length}: raise the latter"
            )

    def measures(self) -> "Mapping[str, Measure]":
        """See `Task.measures`."""
        from transformer.tasks.language_model.scoring import MEASURES

        return MEASURES

    def prepare(self, config: Any, begun: Path | None) -> Prepared:
        """See `Task.prepare`."""
        from transformer.tasks.language_model.prepare import prepare

        return prepare(config, begun)

    def predictor(self, config: Any, run: Path) -> Predictor:
        """See `Task.predictor`."""
        from transformer.tasks.language_model.predictor import LanguageModelPredictor

        return LanguageModelPredictor(config, run)
