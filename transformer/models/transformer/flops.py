"""Multiplications of the Transformer's matrix products in a forward pass, on real tokens only."""

import numpy as np

from transformer.attention.positions import CLIP
from transformer.models.transformer.config import Transformer


def encoder(model: Transformer, source: np.ndarray) -> int:
    """Multiplications of the encoder on sources of these lengths ([B] tokens)."""
    D, L = model.width, model.encoder_layers
    return int(
        source.sum() * L * (2 * D * D + 2 * D * _keys(model) + _feedforward(model) + _distances(model))
        + source.sum() * L * 2 * _sum(model, "encoder")
        + L * _pair(model, "encoder") * (source**2).sum()
    )


def decoder(model: Transformer, source: np.ndarray, target: np.ndarray, vocabulary: int) -> int:
    """Multiplications of the decoder and the output layer on sentence pairs of these lengths ([B] tokens each)."""
    D, L = model.width, model.decoder_layers
    memory = source.sum() * L * (2 * D * _keys(model) + _sum(model, "cross"))
    tokens = target.sum() * (
        L * (4 * D * D + 2 * D * _keys(model) + _feedforward(model) + _distances(model) + _sum(model, "cross"))
        + D * vocabulary
    )
    pairs = _pair(model, "decoder") * (target**2).sum() + _pair(model, "cross") * (target * source).sum()
    return int(memory + tokens + L * pairs)


def _keys(model: Transformer) -> int:
    """Width of the keys of all heads."""
    return model.width // model.attention.heads * (model.attention.key_value_heads or model.attention.heads)


def _pair(model: Transformer, place: str) -> int:
    """Multiplications of a query with a key and a value, all heads together, with the mixes of energies and weights of
    talking heads. Zero if linear attention uses sums instead."""
    if _sum(model, place):
        return 0
    talking = model.attention_of(place).mechanism == "talking"
    return 2 * model.width + (2 * model.attention.heads**2 if talking else 0)


def _sum(model: Transformer, place: str) -> int:
    """Multiplications of a key with its value, or of a query with their sum, if linear attention uses one: in the
    decoder's self-attention each position sees a different past, and training computes all pairs."""
    is_summed = model.attention_of(place).mechanism == "linear" and place != "decoder"
    return model.width**2 // model.attention.heads if is_summed else 0


def _distances(model: Transformer) -> int:
    """Multiplications of a query with the vectors of all distances."""
    return (2 * CLIP + 1) * model.width if model.positions == "shaw" else 0


def _feedforward(model: Transformer) -> int:
    return (3 if model.activation == "swiglu" else 2) * model.width * model.feedforward
