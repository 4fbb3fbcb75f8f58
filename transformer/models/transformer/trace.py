"""One attention of the Transformer with its residual connection, taken apart for read-outs."""

from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from transformer.attention.multihead import MultiHead, with_bias
from transformer.models.interface import Summands
from transformer.nn.layers import Residual


def trace(
    residual: Residual,
    attention: MultiHead,
    x: Float[Array, "B T D"],
    memory: Float[Array, "B S D"] | None,
    mask: Bool[Array, "#B 1 #T S"],
    position: Int[Array, "#B T"],
    lengths: Int[Array, "B"] | None,
) -> tuple[Float[Array, "B T D"], Summands]:
    """The output of the residual connection, and its summands. Without a memory x attends to itself."""
    y = residual.enter(x)
    keys, values = attention.project(y, position) if memory is None else attention.project(memory)
    attended, weights = attention(y, keys, values, mask, position, lengths)
    assert weights is not None
    output = attention.output[...].astype(values.dtype)
    factors, projected = attention.mechanism.summands(weights, attention.for_queries(values), output)
    own = with_bias(x, attention.output_bias)
    scale = residual.norm.scale
    gain = None if residual.pre or scale is None else scale[...]
    gains = (None, gain) if isinstance(residual.norm, nnx.RMSNorm) else (gain, None)
    return residual.add(x, attended, None), Summands(factors, projected, own, *gains)
