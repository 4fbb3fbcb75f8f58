"""Mechanisms by the name that `--model.attention.mechanism` has."""

from transformer.attention.differential import Differential
from transformer.attention.fixed import Fixed
from transformer.attention.linear import Linear
from transformer.attention.mechanism import Mechanism
from transformer.attention.talking import Talking

MECHANISMS: dict[str, type[Mechanism]] = {
    "standard": Mechanism,
    "talking": Talking,
    "differential": Differential,
    "fixed": Fixed,
    "linear": Linear,
}
