"""Models from their settings, and models from their parameters."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from transformer.models.config import SequenceToSequence
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


def create(
    model: SequenceToSequence,
    source_vocabulary: int,
    target_vocabulary: int,
    seed: int,
    *,
    precision: Precision = "float32",
    remat: Remat = "none",
) -> Any:
    """A model with newly initialised parameters, deterministic given the seed.

    The parameters and their tree do not depend on precision and remat, which only change the computation.

    Args:
        model: settings of any family.
        source_vocabulary: entries.
        target_vocabulary: entries.
        seed: of the parameters.
        precision: of the computation, see `nn.precision`.
        remat: what the backward pass recomputes, see `nn.remat`.
    """
    rngs = nnx.Rngs(seed)
    return model.build(source_vocabulary, target_vocabulary, rngs=rngs, precision=precision, remat=remat)


def structure(model: SequenceToSequence, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
    """The structure of a model without its parameters; arguments as those of `create`. It accepts the parameters of a
    model with a different precision or remat."""
    return shapes(lambda: create(model, source_vocabulary, target_vocabulary, 0, **how))[0]


def shapes(build: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """`split` without building the model: its structure, and shape and type of each parameter."""
    return split(nnx.eval_shape(build))


def builder(graph: Any) -> Callable[[Any], Any]:
    """A function from parameters to the model of this structure."""

    def build(parameters: Any) -> Any:
        return nnx.merge(graph, parameters)

    return build


def split(model: nnx.Module) -> tuple[Any, dict[str, Any]]:
    """The model's structure, and its parameters as a tree of plain dicts; `nnx.merge` is the inverse."""
    graph, parameters = nnx.split(model, nnx.Param)
    return graph, nnx.to_pure_dict(parameters)
