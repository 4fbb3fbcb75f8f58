"""Parameters of Hugging Face's GPT2LMHeadModel as those of a `Gpt`.

GPT-2's only special token, <|endoftext|>, stands between texts. Here it is the begin token and the end token. Matrices
have the same orientation on both sides; query, key and value are one matrix there.

Letters: D width of the model, F inner width of the feed-forward layer, V vocabulary there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transformer.attention.config import Attention
from transformer.errors import UsageError
from transformer.models.gpt.config import Gpt
from transformer.special_tokens import BOS, EOS, PAD, SPECIAL_TOKENS, UNK

NEVER = -1e4
"""Bias of the logits of padding, unknown and begin token, which GPT-2 does not write."""
ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu_exact", "relu": "relu", "silu": "silu",
               "swish": "silu"}  # fmt: skip
"""Activations there, and their names here."""
PLAIN = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False}
"""Settings there without a counterpart here, and the values that they must have."""
LONGEST = 2**16
"""Most positions that are read."""

Read = Callable[[tuple[str, ...], tuple[int, ...]], np.ndarray]
"""(names, of which the first that exists is meant; the shape that it must have) -> the tensor in float32. Raises
TransformerError."""


def settings(config: Mapping[str, Any]) -> Gpt:
    """The settings of a model, from Hugging Face's config.json with all defaults filled in. Raises UsageError for what
    has no counterpart here."""
    for name, value in PLAIN.items():
        if config[name] != value:
            raise UsageError(f"{name}={config[name]} has no counterpart here, where it is {value}")
    if config["activation_function"] not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise UsageError(f"activation_function={config['activation_function']} is unknown here: there are {known}")
    if not 4 <= config["n_positions"] <= LONGEST:
        raise UsageError(f"n_positions={config['n_positions']} is not from 4 to {LONGEST:,}")
    model = Gpt(
        layers=config["n_layer"],
        width=config["n_embd"],
        feedforward=config["n_inner"] or 4 * config["n_embd"],
        attention=Attention(heads=config["n_head"], bias=True),
        activation=ACTIVATIONS[config["activation_function"]],  # type: ignore[arg-type]
        max_length=config["n_positions"] // 2,
        tie="all" if config["tie_word_embeddings"] else "none",
        output_bias=True,
        scale_embeddings=False,
        norm_epsilon=config["layer_norm_epsilon"],
        dropout=config["resid_pdrop"],
        attention_dropout=config["attn_pdrop"],
    )
    model.check()
    return model


def parameters(model: Gpt, positions: int, rows: np.ndarray, size: int, read: Read) -> dict[str, np.ndarray]:
    """Read all parameters, by their dotted names.

    Args:
        model: the settings.
        positions: number of positions there; of an odd number the last one is left out.
        rows: for each token here its id there; padding and the unknown token have that of another one.
        size: V.
        read: see `Read`.
    """
    D, F, H, L = model.width, model.feedforward, model.attention.heads, model.layers

    def one(name: str, *shape: int) -> np.ndarray:
        return read((f"transformer.{name}", name), shape)

    def layers(name: str, *shape: int) -> np.ndarray:
        return np.stack([one(f"h.{number}.{name}", *shape) for number in range(L)])

    # The tables come first: once they are read, a width is known not to be a mistake, or an attack on the memory.
    table = one("wte.weight", size, D)[rows]
    table[[PAD, UNK]] = 0
    found = {"positions.learned": one("wpe.weight", positions, D)[: 2 * model.max_length]}
    if model.tie == "all":
        found["embed_source.table"] = table
    else:
        output = read(("lm_head.weight",), (size, D))[rows]
        output[[PAD, UNK]] = 0
        found |= {"embed_source.table": table, "embed_target.table": table, "output.embedding.table": output}
    found["output.bias"] = np.zeros(len(rows), np.float32)
    found["output.bias"][[PAD, UNK, BOS]] = NEVER
    matrices, biases = layers("attn.c_attn.weight", D, 3 * D), layers("attn.c_attn.bias", 3 * D)
    for number, name in enumerate(("query", "key", "value")):
        part = slice(number * D, (number + 1) * D)
        found[f"layers.attention.{name}"] = matrices[:, :, part].reshape(L, D, H, D // H)
        found[f"layers.attention.{name}_bias"] = biases[:, part].reshape(L, H, D // H)
    found["layers.attention.output"] = layers("attn.c_proj.weight", D, D).reshape(L, H, D // H, D)
    found["layers.attention.output_bias"] = layers("attn.c_proj.bias", D)
    found["layers.feedforward.inner"] = layers("mlp.c_fc.weight", D, F)
    found["layers.feedforward.inner_bias"] = layers("mlp.c_fc.bias", F)
    found["layers.feedforward.outer"] = layers("mlp.c_proj.weight", F, D)
    found["layers.feedforward.outer_bias"] = layers("mlp.c_proj.bias", D)
    for ours, theirs in (("attention", "ln_1"), ("feedforward", "ln_2")):
        found[f"layers.{ours}_residual.norm.scale"] = layers(f"{theirs}.weight", D)
        found[f"layers.{ours}_residual.norm.bias"] = layers(f"{theirs}.bias", D)
    return found | {"norm.scale": one("ln_f.weight", D), "norm.bias": one("ln_f.bias", D)}


def order(vocabulary: Mapping[str, int], pieces: list[str]) -> np.ndarray:
    """For each token here its id there: `pieces` are those of the tokenizer here, special tokens first."""
    end = vocabulary["<|endoftext|>"]
    special = {PAD: end, UNK: end, BOS: end, EOS: end}
    rest = [vocabulary[piece] for piece in pieces[len(SPECIAL_TOKENS) :]]
    return np.array([*(special[number] for number in range(len(SPECIAL_TOKENS))), *rest])
