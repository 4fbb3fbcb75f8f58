"""Models, all of one contract (`contract.Model`)."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from transformer import config
from transformer.models.interface import Model
from transformer.models.rnn.model import Rnn
from transformer.models.transformer.model import Transformer


def create(model: config.Model, source_vocabulary: int, target_vocabulary: int, seed: int) -> nnx.Module:
    """A model with fresh parameters, deterministic in the seed."""
    sizes, rngs = (source_vocabulary, target_vocabulary), nnx.Rngs(seed)
    if isinstance(model, config.Rnn):
        return Rnn(model, *sizes, rngs=rngs)
    return Transformer(model, *sizes, rngs=rngs)


def builder(graph: Any) -> Callable[[Any], Model]:
    """What makes a model of its parameters, the structure being given."""

    def build(parameters: Any) -> Model:
        model: Model = nnx.merge(graph, parameters)
        return model

    return build


def split(model: nnx.Module) -> tuple[Any, dict[str, Any]]:
    """The model's structure, and its parameters as a tree of plain dicts; `nnx.merge` is the inverse."""
    graph, parameters = nnx.split(model, nnx.Param)
    return graph, nnx.to_pure_dict(parameters)
