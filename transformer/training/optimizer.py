"""Learning-rate schedules and optimizers, from optax."""

import re

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from optax import contrib

from transformer.training import config


def schedule(settings: config.Schedule, width: int, steps: int) -> optax.Schedule:
    """Learning rate by number of updates done; the first update has rate peak / warmup (without warm-up, peak), not 0.

    inverse_sqrt and noam are Vaswani 2017, equation 3, the latter with its peak width^-0.5 * warmup^-0.5.
    """
    warmup, peak = settings.warmup, settings.peak
    if settings.name == "noam":
        peak *= width**-0.5 * warmup**-0.5

    def rate(count: Int[Array, ""]) -> Float[Array, ""]:
        count = jnp.asarray(count)
        step = count.astype(jnp.float32) + 1
        if settings.name == "cosine":
            share = jnp.clip((step - warmup) / max(1, steps - warmup), 0, 1)
            after = settings.final + (1 - settings.final) * 0.5 * (1 + jnp.cos(jnp.pi * share))
        elif settings.name == "constant":
            after = jnp.float32(1)
        elif settings.name == "halving":
            after = jnp.exp2(-jnp.maximum(0, (count - settings.hold) // settings.every + 1).astype(jnp.float32))
        else:
            after = jnp.sqrt(warmup / jnp.maximum(step, warmup))
        return peak * jnp.minimum(step / max(1, warmup), after)

    return rate


def optimizer(settings: config.Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), Adadelta (Zeiler
    2012, algorithm 1), Muon (Jordan 2024), schedule-free AdamW (Defazio 2024, algorithm 1), or nothing: plain
    stochastic gradient descent."""
    parts = [optax.clip_by_global_norm(settings.clip)] if settings.clip else []
    if settings.name == "muon":
        return optax.chain(*parts, muon(settings, rate))
    if settings.name == "schedule_free":
        return optax.chain(*parts, schedule_free(settings, rate))
    if settings.name in ("adam", "adamw"):
        parts.append(optax.scale_by_adam(settings.b1, settings.b2, settings.epsilon))
    elif settings.name == "adadelta":
        parts.append(optax.scale_by_adadelta(settings.rho, settings.epsilon_root))
    if settings.name == "adamw" and settings.weight_decay:
        parts.append(optax.add_decayed_weights(settings.weight_decay, mask=_matrices))
    return optax.chain(*parts, optax.scale_by_learning_rate(rate))


RMS = 0.2
"""Root mean square of an update of Muon at rate 1, which is about that of Adam's (Liu et al. 2025, "Muon is Scalable
for LLM Training", section 2.2)."""

MATRICES: tuple[tuple[str, contrib.MuonDimensionNumbers], ...] = (
    (r"(attention|cross)/(query|key|value)$", contrib.MuonDimensionNumbers(1, (2, 3))),  # [L, D, H, K]
    (r"(attention|cross)/output$", contrib.MuonDimensionNumbers((1, 2), 3)),  # [L, H, K, D]
    (r"feedforward/(inner|gate|outer)$", contrib.MuonDimensionNumbers(1, 2)),  # [L, D, F]
)
"""The matrices of a Transformer's stacked layers, and which of their axes are inputs and outputs; the heads of a layer
are one matrix."""


def dimensions(parameters: optax.Params) -> optax.Params:
    """The axes of each matrix that Muon updates, None for all other parameters."""

    def of(path: tuple[jax.tree_util.DictKey, ...], _: Array) -> contrib.MuonDimensionNumbers | None:
        name = "/".join(str(part.key) for part in path)
        return next((axes for pattern, axes in MATRICES if re.search(pattern, name)), None)

    return jax.tree_util.tree_map_with_path(of, parameters)


def muon(settings: config.Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon for the matrices, Adam for the rest."""
    return contrib.muon(
        rate,
        beta=settings.momentum,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        adam_b1=settings.b1,
        adam_b2=settings.b2,
        muon_weight_dimension_numbers=dimensions,
        consistent_rms=RMS,
    )


def schedule_free(settings: config.Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW without momentum, whose iterates are averaged."""
    decay = optax.add_decayed_weights(settings.weight_decay, mask=_matrices) if settings.weight_decay else None
    adam = [optax.scale_by_adam(0.0, settings.b2, settings.epsilon), *([decay] if decay else [])]
    base = optax.chain(*adam, optax.scale_by_learning_rate(rate))
    return contrib.schedule_free(base, rate, b1=settings.b1)


def average_of(state: optax.OptState, parameters: optax.Params) -> optax.Params:
    """The average of the iterates that `schedule_free` keeps, x = (y - (1 - b1) z) / b1."""
    return contrib.schedule_free_eval_params(state[-1], parameters)


def _matrices(parameters: optax.Params) -> optax.Params:
    """True for weights that decay. Layers are stacked [L, ...], so biases and norms are recognised by their names."""

    def decays(path: tuple[jax.tree_util.DictKey, ...], _: Array) -> bool:
        name = str(path[-1].key)
        return not (name.endswith("bias") or name == "scale")

    return jax.tree_util.tree_map_with_path(decays, parameters)
