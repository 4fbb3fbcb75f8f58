"""Useful operations of an update: the products of matrices on real tokens, forward and backward."""

import numpy as np

from transformer.config import Attention, Config, Rnn, Transformer
from transformer.data.batching.pairs import Batch
from transformer.nn.recurrent import GATES

PEAKS = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
"""Operations a second of one device in bfloat16 without sparsity, as its maker states them, by a part of its name."""


def peak(device_kind: str) -> float | None:
    """Of a device by the name JAX gives it; None for one that is not listed (a CPU has no such figure)."""
    return next((peak for name, peak in PEAKS.items() if name in device_kind), None)


def useful_flops(settings: Config, batch: Batch, vocabulary: int) -> float:
    """6 for each multiplication of the forward pass: 2 forward, 4 backward. Element by element nothing is counted."""
    source, target = (batch.source != 0).sum(1), (batch.target_out != 0).sum(1)
    model = settings.model
    if isinstance(model, Rnn):
        return 6.0 * float(_rnn(model, source, target, vocabulary))
    return 6.0 * float(_transformer(model, source, target, vocabulary))


def _transformer(model: Transformer, source: np.ndarray, target: np.ndarray, vocabulary: int) -> int:
    D, E, L = model.width, model.encoder_layers, model.decoder_layers
    inner = (3 if model.activation == "swiglu" else 2) * D * model.feedforward
    weights = source.sum() * (E * (4 * D * D + inner) + L * 2 * D * D)
    weights += target.sum() * (L * (6 * D * D + inner) + D * vocabulary)
    return weights + 2 * D * (E * (source**2).sum() + L * (target**2 + target * source).sum())


def _rnn(model: Rnn, source: np.ndarray, target: np.ndarray, vocabulary: int) -> int:
    H, X, G = model.width, model.embedding, GATES[model.cell] * model.width
    directions = 2 if model.bidirectional else 1
    S, T, pairs = source.sum(), target.sum(), (source * target).sum()
    E = model.encoder_width or H
    M, gates = directions * E, GATES[model.cell] * E
    total = S * directions * (X * gates + E * gates + (model.encoder_layers - 1) * (M * gates + E * gates))
    luong = model.decoder == "luong"
    bridges = 0 if luong and directions == 1 else (2 if model.cell == "lstm" else 1) * model.decoder_layers
    total += len(source) * bridges * (M if luong else E) * H
    total += T * (X * G + H * G + (model.decoder_layers - 1) * 2 * H * G)
    attends = model.attention.score != "none"
    if luong:
        D = (model.readout or H) if attends else H
        total += T * (D * G if model.input_feeding and attends else 0) + (T * (M + H) * D if attends else 0)
    else:
        D = model.readout or max(1, H // 2)
        total += T * (M * G + (H + X + M) * 2 * D)
    return total + T * D * vocabulary + (_attention(model.attention, H, M, S, T, pairs) if attends else 0)


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
