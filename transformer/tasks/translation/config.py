"""Settings of translation."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from annotated_types import Ge, Interval

from transformer.alignment.readouts.names import FULL_CONTEXT, WEIGHTS
from transformer.attention.config import SIGNED, can_be_guided
from transformer.errors import UsageError
from transformer.models.config import SequenceToSequence
from transformer.plurals import counted
from transformer.tasks.task import Predictor, Prepared, Task

if TYPE_CHECKING:
    from transformer.evaluation.measures import Measure


TOKENIZE = ("13a", "none", "intl", "char", "zh")
"""sacreBLEU's tokenizers."""
MetricName: TypeAlias = Literal["bleu", "chrf", "ter"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
"""Scores of sacreBLEU, as options name them."""


@dataclass(frozen=True)
class Guided:
    """Guided alignment (Chen 2016; Garg 2019): a second loss that pulls attention towards given word alignments."""

    weight: Annotated[float, Ge(0)] = 0.0
    """Weight of the guiding loss; both losses are in nats per target token. 0: no guiding."""
    layer: int = -1
    """Decoder layer whose attention to the source is guided, counted from 0; -1 is the last."""
    heads: tuple[int, ...] = (0,)
    """The guided heads of this layer, each guided independently."""
    context: Literal["past", "full"] = "past"
    """Target words that the guided heads see. past: those before the word, as in translation. full: all of them (Garg
    2019, section 4.3), for Transformer decoders: the guiding loss comes from a second pass of the decoder without the
    causal mask, and the translation loss from the first pass. `transformer align` then uses the second pass."""

    @property
    def by(self) -> str:
        """The read-out whose heads are guided; without guidance, the weights."""
        return FULL_CONTEXT if self.weight > 0 and self.context == "full" else WEIGHTS

    def place(self, by: str, layers: int) -> tuple[int | None, int | None]:
        """Default layer and head of a read-out with this many layers for making links: the first guided head, or (None,
        None), the mean of all, if it has no guided head."""
        return (self.layer % layers, self.heads[0]) if self.weight > 0 and by == self.by else (None, None)


@dataclass(frozen=True)
class Translation(Task):
    """Translation of sentences: its loss, its guidance, and the measures of a validation."""

    label_smoothing: Annotated[float, Interval(ge=0, le=0.999)] = 0.1
    """Share of each target's probability that is spread over the vocabulary (Szegedy 2016, section 7)."""
    r_drop: Annotated[float, Ge(0)] = 0.0
    """Weight of R-Drop (Liang 2021, its alpha): each batch is computed twice, with different dropout. The loss is the
    mean of both, and half of this weight times (KL(p || q) + KL(q || p)) / 2 of their predictions p and q, which is
    half of the paper's (equation 4). 0: one pass."""
    mean_over: Literal["tokens", "sentences"] = "tokens"
    """What the gradient is a mean over: the target's tokens, or the sentence pairs (Bahdanau 2015, Luong 2015: their
    learning rates and clipping thresholds refer to it). Logged values are always means over tokens."""
    guided: Guided = field(default_factory=Guided)
    """Guided alignment."""
    validate_sentences: Annotated[int, Ge(0)] = 500
    """Sentences translated (greedily) for the validation BLEU; 0 turns it off."""
    metric: Literal["bleu", "loss"] = "bleu"
    """The measure on the validation set that determines `best` and patience."""

    searches = True

    def check(self, config: Any) -> None:
        """See `Task.check`."""
        model = config.model
        if not isinstance(model, SequenceToSequence):
            raise UsageError(f"--task is translation, which needs a source and a target: a {type(model).__name__} is "
                             "not a sequence-to-sequence model")  # fmt: skip
        if getattr(model, "tie", "none") == "all" and not config.tokenizer.joint:
            raise UsageError("--model.tie=all needs one vocabulary: give --tokenizer.joint=True or --model.tie=target")
        rates = [getattr(model, f"{of}dropout", 0) for of in ("", "attention_", "feedforward_")]
        if self.r_drop > 0 and not any(rates) and hasattr(model, "dropout"):
            raise UsageError("--task.r-drop compares passes with different dropout, and no --model.dropout is above 0")
        if self.guided.weight > 0:
            self._check_guided(model)
            if config.tokenizer.sampling:
                raise UsageError(
                    "--task.guided.weight guides the attention between given pieces; --tokenizer.sampling draws others"
                )
        if self.metric == "bleu" and self.validate_sentences == 0:
            raise UsageError("--task.metric=bleu needs --task.validate-sentences: raise it, or give --task.metric=loss")

    def _check_guided(self, model: SequenceToSequence) -> None:
        guided = self.guided
        if model.attention.score == "none":
            raise UsageError("--task.guided.weight guides attention, but --model.attention.score=none has none")
        if "cross" in model.attention.places and not can_be_guided(model.attention.normalizer):
            raise UsageError(
                "--task.guided.weight pulls attention by cross-entropy, for weights above zero that share a sum, and "
                f"--model.attention.normalizer={model.attention.normalizer} has others: give softmax or learned_null"
            )
        if "cross" in model.attention.places and model.attention.mechanism in SIGNED:
            raise UsageError(
                "--task.guided.weight pulls attention by cross-entropy, for weights above zero, and those of "
                f"--model.attention.mechanism={model.attention.mechanism} may be negative: give standard, or "
                "--model.attention.places encoder decoder"
            )
        layers, heads = model.cross
        if not -layers <= guided.layer < layers:
            have = counted(layers, "layer")
            raise UsageError(f"--task.guided.layer={guided.layer}: the attention to the source has {have}")
        if guided.context == "full":
            model.check_full_context("--task.guided.context=full")
        if not guided.heads or not all(0 <= head < heads for head in guided.heads):
            wrong = " ".join(map(str, guided.heads)) or "nothing"
            raise UsageError(f"--task.guided.heads {wrong}: give some of 0 to {heads - 1}")

    def smoke(self) -> "Translation":
        """See `Task.smoke`."""
        return replace(self, validate_sentences=min(8, self.validate_sentences))

    def measures(self) -> "Mapping[str, Measure]":
        """See `Task.measures`."""
        from transformer.tasks.translation.scoring import MEASURES

        return MEASURES

    def scoring(self, **options: Any) -> dict[str, Any]:
        """See `Task.scoring`; `tokenize` is sacreBLEU's tokenizer."""
        found = {"tokenize": "13a"} | options
        if unknown := found.keys() - {"tokenize"}:
            raise UsageError(f"scoring={options}: translations have no option {min(unknown)}; did you mean tokenize?")
        if found["tokenize"] not in TOKENIZE:
            near = difflib.get_close_matches(str(found["tokenize"]), TOKENIZE, n=1, cutoff=0.0)[0]
            raise UsageError(f"scoring={options}: did you mean tokenize={near!r}? Choose from {', '.join(TOKENIZE)}")
        return found

    def prepare(self, config: Any, begun: Path | None) -> Prepared:
        """See `Task.prepare`."""
        from transformer.tasks.translation.prepare import prepare

        return prepare(config, begun)

    def predictor(self, config: Any, run: Path) -> Predictor:
        """See `Task.predictor`."""
        from transformer.tasks.translation.predictor import TranslationPredictor

        return TranslationPredictor(config, run)
