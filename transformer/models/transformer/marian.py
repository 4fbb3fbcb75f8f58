"""Parameters of Hugging Face's MarianMTModel as those of a Transformer, and back.

Marian's Transformer (Junczys-Dowmunt et al. 2018) is the paper's, in other coordinates: the first half of a position's
vector has the sines, the second half the cosines, where here they alternate. A permutation of the residual stream leads
from one to the other, exactly. Matrices are transposed and heads are not separated there.

Letters: D width of the model, A = H K all heads together, F inner width of the feed-forward layer, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from transformer.attention.config import Attention
from transformer.errors import UsageError
from transformer.models.transformer.config import Transformer
from transformer.special_tokens import BOS, PAD

EPSILON = 1e-5
"""That of every LayerNorm of Marian's; it is no setting there."""
ACTIVATIONS = {"relu": "relu", "gelu": "gelu_pytorch_tanh", "gelu_exact": "gelu", "silu": "silu"}
"""Activations here, and their names there."""
OWN = {"score": "scaled_dot", "window": "global", "normalizer": "softmax", "mechanism": "standard"}
"""What its attentions are, among the settings of attentions here."""
LONGEST = 2**16
"""Most positions that are read: their table is made when the model computes."""
ALIASES = {"swish": "silu", "gelu_new": "gelu"}
"""Further names there, and the activations here."""

_ATTENTION = [
    *[(f"{name}{ours}", f"{name[0]}_proj.{theirs}", axes)
      for name in ("query", "key", "value")
      for ours, theirs, axes in (("", "weight", "DA"), ("_bias", "bias", "A"))],
    ("output", "out_proj.weight", "AD"),
    ("output_bias", "out_proj.bias", "D"),
]  # fmt: skip


def _layer(attentions: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Parameters of a layer here, there, and the axes that they have here."""
    found = [
        ("feedforward.inner", "fc1.weight", "DF"),
        ("feedforward.inner_bias", "fc1.bias", "F"),
        ("feedforward.outer", "fc2.weight", "FD"),
        ("feedforward.outer_bias", "fc2.bias", "D"),
    ]
    for ours, theirs in attentions.items():
        found += [(f"{ours}.{a}", f"{theirs}.{b}", axes) for a, b, axes in _ATTENTION]
    norms = {name: f"{theirs}_layer_norm" for name, theirs in attentions.items()}
    for ours, theirs in (norms | {"feedforward": "final_layer_norm"}).items():
        found += [
            (f"{ours}_residual.norm.scale", f"{theirs}.weight", "D"),
            (f"{ours}_residual.norm.bias", f"{theirs}.bias", "D"),
        ]
    return found


STACKS = {
    "encoder": _layer({"attention": "self_attn"}),
    "decoder": _layer({"attention": "self_attn", "cross": "encoder_attn"}),
}

Read = Callable[[tuple[str, ...], tuple[int, ...]], np.ndarray]
"""(names, of which the first that exists is meant; the shape that it must have) -> the tensor in float32. Raises
TransformerError."""


class Order(NamedTuple):
    """How a vocabulary here is numbered there."""

    ids: np.ndarray
    """For each token here its id there."""
    size: int
    """Number of tokens there."""
    starts_with_padding: bool
    """Whether the token that a translation starts with is that of padding there, so that both are one."""


def settings(config: Mapping[str, Any]) -> Transformer:
    """The settings of a model, from Hugging Face's config.json with all defaults filled in. Raises UsageError for what
    has no counterpart here."""
    for name in ("attention_heads", "ffn_dim"):
        both = config[f"encoder_{name}"], config[f"decoder_{name}"]
        if both[0] != both[1]:
            raise UsageError(f"encoder_{name}={both[0]} and decoder_{name}={both[1]} differ: here they are one setting")
    names = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | ALIASES
    if config["activation_function"] not in names:
        known = ", ".join(sorted(names))
        raise UsageError(f"activation_function={config['activation_function']} is unknown here: there are {known}")
    tie = "none"
    if config["tie_word_embeddings"]:
        tie = "all" if config["share_encoder_decoder_embeddings"] else "target"
    if config["max_position_embeddings"] > LONGEST:
        raise UsageError(f"max_position_embeddings={config['max_position_embeddings']} is above {LONGEST:,}")
    model = Transformer(
        encoder_layers=config["encoder_layers"],
        decoder_layers=config["decoder_layers"],
        width=config["d_model"],
        feedforward=config["encoder_ffn_dim"],
        attention=Attention(heads=config["encoder_attention_heads"], bias=True),
        activation=names[config["activation_function"]],  # type: ignore[arg-type]
        max_length=config["max_position_embeddings"],
        tie=tie,  # type: ignore[arg-type]
        output_bias=True,
        scale_embeddings=config["scale_embedding"],
        norm_epsilon=EPSILON,
        dropout=config["dropout"],
        attention_dropout=config["attention_dropout"],
        feedforward_dropout=config["activation_dropout"],
    )
    model.check()
    return model


def config(model: Transformer, sizes: tuple[int, int]) -> dict[str, Any]:
    """The part of Hugging Face's config.json that follows from settings and the sizes of both vocabularies. Raises
    UsageError with the setting that Marian does not have."""
    attention = model.attention
    wanted: dict[str, tuple[Any, Any]] = {
        "norm": (model.norm, "post"),
        "norm-kind": (model.norm_kind, "layer"),
        "positions": (model.positions, "sinusoidal"),
        "attention.key-value-heads": (attention.key_value_heads or attention.heads, attention.heads),
        "attention.query-key-norm": (attention.query_key_norm and bool(attention.places), False),
    }
    for place in ("encoder", "decoder", "cross"):
        own = model.attention_of(place)
        for name, value in OWN.items():
            if getattr(own, name) != value:
                wanted[f"attention.{name}"] = getattr(own, name), value
    for name, (found, has) in wanted.items():
        if found != has:
            raise UsageError(f"--model.{name}={found} has no counterpart in Marian, which has {has}")
    if model.activation not in ACTIVATIONS:
        raise UsageError(
            f"--model.activation={model.activation} has no counterpart in Marian, which has {', '.join(ACTIVATIONS)}"
        )
    source, target = sizes
    sides = {"layers": (model.encoder_layers, model.decoder_layers), "attention_heads": (attention.heads,) * 2,
             "ffn_dim": (model.feedforward,) * 2, "layerdrop": (0.0, 0.0)}  # fmt: skip
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "d_model": model.width,
        **{f"{side}_{name}": both[n] for name, both in sides.items() for n, side in enumerate(("encoder", "decoder"))},
        "activation_function": ACTIVATIONS[model.activation],
        "max_position_embeddings": model.max_length,
        "scale_embedding": model.scale_embeddings,
        "share_encoder_decoder_embeddings": model.tie == "all",
        "tie_word_embeddings": model.tie != "none",
        "vocab_size": source,
        "decoder_vocab_size": target,
        "dropout": model.dropout,
        "attention_dropout": model.attention_dropout,
        "activation_dropout": model.feedforward_dropout,
    }


def basis(width: int) -> np.ndarray:
    """For each coordinate of the residual stream here its number there."""
    coordinate, half = np.arange(width), (width + 1) // 2
    return coordinate // 2 + np.where(coordinate % 2, half, 0)


def parameters(
    model: Transformer, source: Order, target: Order, read: Read, *, has_output_bias: bool
) -> tuple[Transformer, dict[str, np.ndarray]]:
    """Read all parameters.

    Args:
        model: what `settings` returned.
        source: order of the source vocabulary.
        target: order of the target vocabulary, the same where `model.tie` is all.
        read: see `Read`.
        has_output_bias: whether `final_logits_bias` can be read.

    Returns:
        The settings, without biases that are zero everywhere, and the parameters by their dotted names.
    """
    D, H, shared = model.width, model.attention.heads, "model.shared.weight"
    both = "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"
    names: dict[str, tuple[Order, tuple[str, ...]]] = {"embed_source.table": (source, (both[0], shared))}
    if model.tie == "all":
        names["embed_source.table"] = source, (shared, *both, "lm_head.weight")
    else:
        names["embed_target.table"] = target, (both[1], "lm_head.weight" if model.tie == "target" else shared)
    if model.tie == "none":
        names["output.embedding.table"] = target, ("lm_head.weight",)
    # The tables come first: once they are read, a width is known not to be a mistake, or an attack on the memory.
    tables = {ours: read(theirs, (order.size, D))[order.ids] for ours, (order, theirs) in names.items()}
    to_ours, sizes = basis(D), _sizes(model)
    found = {name: table[:, to_ours] for name, table in tables.items()}
    for stack, depth in (("encoder", model.encoder_layers), ("decoder", model.decoder_layers)):
        for ours, theirs, axes in STACKS[stack]:
            shape = tuple(sizes[axis] for axis in reversed(axes))
            layers = [read((f"model.{stack}.layers.{n}.{theirs}",), shape) for n in range(depth)]
            found[f"{stack}.{ours}"] = np.stack([_to_ours(layer, axes, to_ours, H) for layer in layers])
    bias = read(("final_logits_bias",), (1, target.size))[0] if has_output_bias else np.zeros(target.size, np.float32)
    found["output.bias"] = bias[target.ids]
    if target.starts_with_padding:
        # Here these are two tokens: with half of its probability each, every other one keeps its own.
        found["output.bias"][[PAD, BOS]] -= np.float32(np.log(2))
    return _without_zeros(model, found)


def tensors(model: Transformer, own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `parameters`, for vocabularies that are numbered alike.

    Args:
        model: settings that `config` does not refuse.
        own: parameters by their dotted names.
    """
    to_theirs, sizes = np.argsort(basis(model.width)), _sizes(model)
    found = {}
    for stack, depth in (("encoder", model.encoder_layers), ("decoder", model.decoder_layers)):
        for ours, theirs, axes in STACKS[stack]:
            shape = tuple(sizes[axis] for axis in axes)
            zeros = np.zeros((depth, *shape), np.float32)  # of biases that the model does not have
            for number, layer in enumerate(own.get(f"{stack}.{ours}", zeros)):
                values = layer.reshape(shape)
                for axis, letter in enumerate(axes):
                    values = values.take(to_theirs, axis) if letter == "D" else values
                found[f"model.{stack}.layers.{number}.{theirs}"] = values.T
    tables = {name: own[path][:, to_theirs] for name, path in _tables(model).items()}
    vocabulary = list(tables.values())[-1].shape[0]  # the output layer's
    bias = own.get("output.bias", np.zeros(vocabulary, np.float32))
    return {**tables, **found, "final_logits_bias": bias[None]}


def _tables(model: Transformer) -> dict[str, str]:
    """Tables of embeddings there, and here. One that is tied is written once."""
    if model.tie == "all":
        return {"model.shared.weight": "embed_source.table"}
    found = {
        "model.encoder.embed_tokens.weight": "embed_source.table",
        "model.decoder.embed_tokens.weight": "embed_target.table",
    }
    return found | ({"lm_head.weight": "output.embedding.table"} if model.tie == "none" else {})


def _sizes(model: Transformer) -> dict[str, int]:
    return {"D": model.width, "A": model.width, "F": model.feedforward}


def _to_ours(values: np.ndarray, axes: str, to_ours: np.ndarray, heads: int) -> np.ndarray:
    values = values.T
    for axis, letter in enumerate(axes):
        values = values.take(to_ours, axis) if letter == "D" else values
    if "A" not in axes:
        return values
    return values.reshape(*(size for a, n in zip(axes, values.shape, strict=True)
                            for size in ((heads, n // heads) if a == "A" else (n,))))  # fmt: skip


def _without_zeros(model: Transformer, found: dict[str, np.ndarray]) -> tuple[Transformer, dict[str, np.ndarray]]:
    """Settings and parameters without biases that are zero everywhere, so that a model comes back as it was."""
    projections = [f"{stack}.{name}" for stack, places in STACKS.items() for name, _, _ in places
                   if name.split(".")[-1] in ("query_bias", "key_bias", "value_bias", "output_bias")]  # fmt: skip
    if not any(found[name].any() for name in projections):
        model = replace(model, attention=replace(model.attention, bias=False))
        found = {name: value for name, value in found.items() if name not in projections}
    if not found["output.bias"].any():
        model = replace(model, output_bias=False)
        found = {name: value for name, value in found.items() if name != "output.bias"}
    return model, found
