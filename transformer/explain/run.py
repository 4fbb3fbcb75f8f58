"""What `transformer explain` does: a run and a sentence, to the steps of one layer in the terminal and on a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer import api
from transformer.errors import UsageError
from transformer.explain.page import write_page
from transformer.explain.steps import Steps, decoder_steps, encoder_steps
from transformer.explain.terminal import text
from transformer.models.config import SequenceToSequence
from transformer.models.transformer.config import Transformer
from transformer.special_tokens import BOS, EOS, PAD


@dataclass(frozen=True)
class Task:
    """What to explain; `commands.seeing.Explain` says what each field means."""

    run: Path
    sentence: str
    layer: int = 0
    heads: tuple[int, ...] = ()
    """None: the first two."""
    token: int | None = None
    decoder: bool = False
    page: Path | None = None
    checkpoint: str = "auto"


def explain(task: Task) -> None:
    """Print the steps, and write them as a page where one was asked for."""
    if task.page is not None and task.page.exists():
        raise UsageError(f"--page={task.page} exists: give another name, or remove it")
    model = api.load(task.run, task.checkpoint)
    place = "decoder" if task.decoder else "encoder"
    _check(task, model.settings.model, place)
    steps = _steps(task, model)
    focus = len(steps.pieces) // 2 if task.token is None else task.token
    if not 0 <= focus < len(steps.pieces):
        raise UsageError(f"--token={focus}: the sentence has tokens 0 to {len(steps.pieces) - 1}: {steps.pieces}")
    heads = task.heads or tuple(range(min(2, model.settings.model.attention.heads)))
    print(text(steps, focus, heads))
    if task.page is not None:
        about = {"run": task.run.name, "checkpoint": model.checkpoint}
        write_page(task.page, steps, task.sentence, about)
        print(f"\nas a page: {task.page}")


def _check(task: Task, model: SequenceToSequence, place: str) -> None:
    if not isinstance(model, Transformer):
        raise UsageError(f"{task.run} is recurrent and has no self-attention; `transformer align` shows its attention")
    other = place in model.attention.places and model.attention
    if other and (other.score not in ("dot", "scaled_dot") or other.window != "global"):
        raise UsageError(
            f"the steps are those of dot-product attention over everything; the {place} of {task.run} has "
            f"score={other.score}, window={other.window}"
        )
    layers = model.decoder_layers if task.decoder else model.encoder_layers
    if not 0 <= task.layer < layers:
        raise UsageError(f"--layer={task.layer}: the {place} has layers 0 to {layers - 1}")
    if not all(0 <= head < model.attention.heads for head in task.heads):
        raise UsageError(f"--heads: give some of 0 to {model.attention.heads - 1}")
    if any("\ud800" <= letter <= "\udfff" for letter in task.sentence):
        raise UsageError("the sentence is not UTF-8")


def _steps(task: Task, model: api.TrainedModel) -> Steps:
    network: Any = model.build(model.parameters)
    tokenizers, limit = model.tokenizers, model.settings.model.max_length
    source = [*tokenizers.source.encode(task.sentence), EOS]
    most = limit if task.decoder else limit - 1  # the encoder's steps show a place of padding
    if len(source) == 1:
        raise UsageError("there is no sentence to explain")
    if len(source) > most:
        raise UsageError(f"the sentence has {len(source)} tokens, and {most} can be shown: give a shorter one")
    if not task.decoder:
        padded = [*source, PAD]
        return encoder_steps(network, padded, tokenizers.source.pieces(padded), task.layer)
    (hypothesis,) = model.search([task.sentence])
    print(f"translation: {hypothesis.text}\n")
    target = [BOS, *hypothesis.tokens]
    return decoder_steps(network, source, target, tokenizers.target.pieces(target), task.layer)
