"""Learning-rate schedules and optimizers, from optax."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

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
    2012, algorithm 1), or nothing: plain stochastic gradient descent."""
    parts = [optax.clip_by_global_norm(settings.clip)] if settings.clip else []
    if settings.name in ("adam", "adamw"):
        parts.append(optax.scale_by_adam(settings.b1, settings.b2, settings.epsilon))
    elif settings.name == "adadelta":
        parts.append(optax.scale_by_adadelta(settings.rho, settings.epsilon_root))
    if settings.name == "adamw" and settings.weight_decay:
        parts.append(optax.add_decayed_weights(settings.weight_decay, mask=_matrices))
    return optax.chain(*parts, optax.scale_by_learning_rate(rate))


def _matrices(parameters: optax.Params) -> optax.Params:
    """True for weights that decay. Layers are stacked [L, ...], so biases and norms are recognised by their names."""

    def decays(path: tuple[jax.tree_util.DictKey, ...], _: Array) -> bool:
        name = str(path[-1].key)
        return not (name.endswith("bias") or name == "scale")

    return jax.tree_util.tree_map_with_path(decays, parameters)
