"""Multiplications of a decoder-only model's matrix products in a forward pass, on real tokens only."""

import numpy as np

from transformer.attention.positions import CLIP
from transformer.models.gpt.config import Gpt


def prefix(model: Gpt, source: np.ndarray) -> int:
    """Of reading sources of these lengths ([B] tokens)."""
    return int(source.sum() * _token(model) + 2 * model.width * model.layers * (source**2).sum())


def continuation(model: Gpt, source: np.ndarray, target: np.ndarray, vocabulary: int) -> int:
    """Of the targets and the output layer on sentence pairs of these lengths ([B] tokens each)."""
    tokens = target.sum() * (_token(model) + model.width * vocabulary)
    return int(tokens + 2 * model.width * model.layers * (target**2 + target * source).sum())


def _token(model: Gpt) -> int:
    """Of a token in all layers, without its attention to others."""
    D, groups = model.width, model.attention.key_value_heads or model.attention.heads
    projections = 2 * D * D + 2 * D * (D // model.attention.heads * groups)
    feedforward = (3 if model.activation == "swiglu" else 2) * D * model.feedforward
    distances = (2 * CLIP + 1) * D if model.positions == "shaw" else 0
    return model.layers * (projections + feedforward + distances)
