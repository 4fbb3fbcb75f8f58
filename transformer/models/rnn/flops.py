"""Multiplications of the recurrent models' matrix products in a forward pass, on real tokens only."""

import numpy as np

from transformer.attention.config import Attention
from transformer.models.rnn.config import Rnn
from transformer.nn.recurrent import GATES, LEAVES


def encoder(model: Rnn, source: np.ndarray) -> int:
    """Multiplications of the encoder on sources of these lengths ([B] tokens)."""
    E, M = model.encoder_width or model.width, model.memory_width
    gates = GATES[model.cell] * E
    first, later = model.embedding * gates + E * gates, M * gates + E * gates
    return int(source.sum() * (M // E) * (first + (model.encoder_layers - 1) * later))


def decoder(model: Rnn, source: np.ndarray, target: np.ndarray, vocabulary: int, *, composed: bool = False) -> int:
    """Multiplications of bridge, decoder and output layer on sentence pairs of these lengths ([B] tokens each);
    `composed`: with the bridge of a decoder for any encoder."""
    H, X, M, G = model.width, model.embedding, model.memory_width, GATES[model.cell] * model.width
    S, T, pairs = int(source.sum()), int(target.sum()), int((source * target).sum())
    luong, attends = model.decoder == "luong", model.attention.score != "none"
    total = len(source) * _bridge(model, composed=composed)
    total += T * (X * G + H * G + (model.decoder_layers - 1) * 2 * H * G)
    if luong:
        D = (model.readout or H) if attends else H
        total += T * (D * G if model.input_feeding and attends else 0) + (T * (M + H) * D if attends else 0)
    else:
        D = model.readout or max(1, H // 2)
        total += T * (M * G + (H + X + M) * 2 * D)
    return int(total + T * D * vocabulary + (_attention(model.attention, H, M, S, T, pairs) if attends else 0))


def _bridge(model: Rnn, *, composed: bool) -> int:
    """Multiplications for one sentence."""
    leaves = LEAVES[model.cell] * model.decoder_layers
    if composed:
        return leaves * model.memory_width * model.width
    if model.decoder == "luong":
        return leaves * model.memory_width * model.width if model.bidirectional else 0
    return leaves * (model.encoder_width or model.width) * model.width


def _attention(attention: Attention, query: int, memory: int, sources: int, targets: int, pairs: int) -> int:
    hidden = attention.hidden or query
    additive = sources * memory * hidden + targets * query * hidden + pairs * hidden
    of_score = {
        "general": sources * memory * query + pairs * query,
        "additive": additive,
        "concat": additive,
        "cosine": targets * query + pairs * query,
    }.get(attention.score, pairs * query)
    of_window = targets * (query * hidden + hidden) if attention.window == "local_p" else 0
    return of_score + of_window + pairs * memory
