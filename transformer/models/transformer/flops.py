"""Multiplications of the Transformer's matrix products in a forward pass, on real tokens only."""

import numpy as np

from transformer.attention.positions import CLIP
from transformer.models.transformer.config import Transformer


def encoder(model: Transformer, source: np.ndarray) -> int:
    """Of the encoder on sources of these lengths ([B] tokens)."""
    D, L = model.width, model.encoder_layers
    return int(
        source.sum() * L * (2 * D * D + 2 * D * _keys(model) + _feedforward(model) + _distances(model))
        + 2 * D * L * (source**2).sum()
    )


def decoder(model: Transformer, source: np.ndarray, target: np.ndarray, vocabulary: int) -> int:
    """Of the decoder and the output layer on sentence pairs of these lengths ([B] tokens each)."""
    D, L = model.width, model.decoder_layers
    memory = source.sum() * L * 2 * D * _keys(model)
    tokens = target.sum() * (
        L * (4 * D * D + 2 * D * _keys(model) + _feedforward(model) + _distances(model)) + D * vocabulary
    )
    return int(memory + tokens + 2 * D * L * (target**2 + target * source).sum())


def _keys(model: Transformer) -> int:
    """Width of the keys of all heads."""
    return model.width // model.attention.heads * (model.attention.key_value_heads or model.attention.heads)


def _distances(model: Transformer) -> int:
    """Of a query with the vectors of all distances."""
    return (2 * CLIP + 1) * model.width if model.positions == "shaw" else 0


def _feedforward(model: Transformer) -> int:
    return (3 if model.activation == "swiglu" else 2) * model.width * model.feedforward
