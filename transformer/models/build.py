"""Models from their settings, and models from their parameters."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from transformer.models.config import SequenceToSequence
from transformer.models.interface import Model


def create(model: SequenceToSequence, source_vocabulary: int, target_vocabulary: int, seed: int, **how: str) -> Any:
    """A model with fresh parameters, deterministic in the seed; `how`: precision and remat of training."""
    return model.build(source_vocabulary, target_vocabulary, rngs=nnx.Rngs(seed), **how)


def builder(graph: Any) -> Callable[[Any], Model]:
    """A function that makes a model of its parameters, the structure being given."""

    def build(parameters: Any) -> Model:
        model: Model = nnx.merge(graph, parameters)
        return model

    return build


def split(model: nnx.Module) -> tuple[Any, dict[str, Any]]:
    """The model's structure, and its parameters as a tree of plain dicts; `nnx.merge` is the inverse."""
    graph, parameters = nnx.split(model, nnx.Param)
    return graph, nnx.to_pure_dict(parameters)
