"""A Transformer as a specification of CTranslate2, whose Python package writes the model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from transformer.attention.positions import BASE
from transformer.errors import UsageError
from transformer.models.transformer.config import Transformer
from transformer.nn.layers import sinusoids

ACTIVATIONS = {"relu": "RELU", "gelu": "GELUTanh", "gelu_exact": "GELU", "silu": "SWISH", "swiglu": "SWISH"}
"""Activations here, and the names there."""
POSITIONS = ("sinusoidal", "learned", "rotary", "shaw")
"""Positions that both have. T5's buckets are shared by all layers there, and ALiBi is the decoder's alone."""
OWN = {"score": "scaled_dot", "window": "global", "normalizer": "softmax", "mechanism": "standard"}
"""What its attentions are, among the settings of attentions here."""


def check(model: Transformer) -> None:
    """Refuse settings without a counterpart in CTranslate2. Raises UsageError."""
    if model.positions not in POSITIONS:
        raise UsageError(
            f"--model.positions={model.positions} has no counterpart in CTranslate2, which has {', '.join(POSITIONS)}"
        )
    for place in ("encoder", "decoder", "cross"):
        attention = model.attention_of(place)
        for name, value in OWN.items():
            if getattr(attention, name) != value:
                raise UsageError(
                    f"--model.attention.{name}={getattr(attention, name)} has no counterpart in CTranslate2, which has "
                    f"{value}"
                )
        if attention.query_key_norm:
            raise UsageError("--model.attention.query-key-norm=True has no counterpart in CTranslate2")
    groups = model.attention.key_value_heads
    if groups and groups != model.attention.heads:
        raise UsageError(
            f"--model.attention.key-value-heads={groups}: CTranslate2 shares keys in decoders without an encoder only"
        )


def specification(specs: Any, model: Transformer, own: Mapping[str, np.ndarray], alignment: tuple[int, int]) -> Any:
    """Every parameter in its place.

    Args:
        specs: the module `ctranslate2.specs`.
        model: settings that `check` does not refuse.
        own: parameters by their dotted names.
        alignment: the decoder's layer whose attention is returned, and of how many of its first heads the mean; 0: of
            all.
    """
    rotary: dict[str, Any] = {}
    if model.positions == "rotary":
        rotary = {"rotary_dim": 0, "rotary_interleave": True, "rotary_base": BASE}
    how = {
        "num_heads": model.attention.heads,
        "pre_norm": model.norm == "pre",
        "activation": getattr(specs.Activation, ACTIVATIONS[model.activation]),
        "ffn_glu": model.activation == "swiglu",
        "rms_norm": model.norm_kind == "rms",
        "relative_position": model.positions == "shaw",
        **rotary,
    }
    layer, heads = alignment
    spec = specs.TransformerSpec(
        specs.TransformerEncoderSpec(num_layers=model.encoder_layers, **how),
        specs.TransformerDecoderSpec(
            num_layers=model.decoder_layers, alignment_layer=layer, alignment_heads=heads, **how
        ),
    )
    _embeddings(spec, model, own)
    for name, side in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        side.scale_embeddings = model.scale_embeddings
        for index, layers in enumerate(side.layer):
            at = {
                key.removeprefix(f"{name}."): value[index] for key, value in own.items() if key.startswith(f"{name}.")
            }
            _attention(layers.self_attention, at, "attention")
            if name == "decoder":
                _attention(layers.attention, at, "cross")
            _feedforward(layers.ffn, at)
        if model.norm == "pre":
            _norm(side.layer_norm, own, f"{name}_norm")
    return spec


def _embeddings(spec: Any, model: Transformer, own: Mapping[str, np.ndarray]) -> None:
    source = own["embed_source.table"]
    target = source if model.tie == "all" else own["embed_target.table"]
    # Copies: matrices are quantized in place.
    spec.encoder.embeddings[0].weight, spec.decoder.embeddings.weight = source.copy(), target.copy()
    spec.decoder.projection.weight = (own["output.embedding.table"] if model.tie == "none" else target).copy()
    if model.output_bias:
        spec.decoder.projection.bias = own["output.bias"]
    if model.positions in ("sinusoidal", "learned"):
        for side, name in ((spec.encoder, "source_positions"), (spec.decoder, "target_positions")):
            learned = own.get(f"{name}.learned")
            side.position_encodings.encodings = sinusoids(model.max_length, model.width) if learned is None else learned


def _attention(into: Any, at: Mapping[str, np.ndarray], name: str) -> None:
    """Query, key and value as one matrix [3 D, D] in a self-attention; the query by itself where there is a memory."""
    parts = ("query", "key", "value")
    weights = [
        np.ascontiguousarray(at[f"{name}.{part}"].reshape(at[f"{name}.{part}"].shape[0], -1).T) for part in parts
    ]
    biases = [at[f"{name}.{part}_bias"].reshape(-1) for part in parts if f"{name}.{part}_bias" in at]
    groups = [slice(0, 3)] if name == "attention" else [slice(0, 1), slice(1, 3)]
    for linear, group in zip(into.linear, groups, strict=False):
        linear.weight = np.ascontiguousarray(np.concatenate(weights[group]))
        if biases:
            linear.bias = np.concatenate(biases[group])
    output = at[f"{name}.output"]
    into.linear[-1].weight = np.ascontiguousarray(output.reshape(-1, output.shape[-1]).T)
    if biases:
        into.linear[-1].bias = at[f"{name}.output_bias"]
    if (distances := at.get(f"{name}.relative.weights.distances")) is not None:
        into.relative_position_keys, into.relative_position_values = distances, np.zeros_like(distances)
    _norm(into.layer_norm, at, f"{name}_residual.norm")


def _feedforward(into: Any, at: Mapping[str, np.ndarray]) -> None:
    inner = into.linear_0
    if "feedforward.gate" in at:
        into.linear_0.weight = np.ascontiguousarray(at["feedforward.gate"].T)
        inner = into.linear_0_noact
    for linear, name in ((inner, "inner"), (into.linear_1, "outer")):
        linear.weight = np.ascontiguousarray(at[f"feedforward.{name}"].T)
        linear.bias = at[f"feedforward.{name}_bias"]
    _norm(into.layer_norm, at, "feedforward_residual.norm")


def _norm(into: Any, own: Mapping[str, np.ndarray], name: str) -> None:
    into.gamma = own[f"{name}.scale"]
    if f"{name}.bias" in own:
        into.beta = own[f"{name}.bias"]
