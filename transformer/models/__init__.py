"""Models, all of one contract (`contract.Model`)."""

from typing import Any

from flax import nnx

from transformer import config
from transformer.models.transformer import Transformer


def create(model: config.Transformer, source_vocabulary: int, target_vocabulary: int, seed: int) -> nnx.Module:
    """A model with fresh parameters, deterministic in the seed."""
    return Transformer(model, source_vocabulary, target_vocabulary, rngs=nnx.Rngs(seed))


def split(model: nnx.Module) -> tuple[Any, dict[str, Any]]:
    """The model's structure, and its parameters as a tree of plain dicts; `nnx.merge` is the inverse."""
    graph, parameters = nnx.split(model, nnx.Param)
    return graph, nnx.to_pure_dict(parameters)
