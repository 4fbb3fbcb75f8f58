"""Learning-rate schedules and optimizers, from optax."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from transformer import config


def schedule(settings: config.Schedule, width: int, steps: int) -> optax.Schedule:
    """Learning rate by number of updates done; the first update has rate peak / warmup, not 0.

    inverse_sqrt and noam are Vaswani 2017, equation 3, the latter with its peak width^-0.5 * warmup^-0.5.
    """
    warmup, peak = settings.warmup, settings.peak
    if settings.name == "noam":
        peak *= width**-0.5 * warmup**-0.5

    def rate(count: Int[Array, ""]) -> Float[Array, ""]:
        step = jnp.asarray(count, jnp.float32) + 1
        if settings.name == "cosine":
            share = jnp.clip((step - warmup) / max(1, steps - warmup), 0, 1)
            after = settings.final + (1 - settings.final) * 0.5 * (1 + jnp.cos(jnp.pi * share))
        elif settings.name == "constant":
            after = jnp.float32(1)
        else:
            after = jnp.sqrt(warmup / jnp.maximum(step, warmup))
        return peak * jnp.minimum(step / warmup, after)

    return rate


def optimizer(settings: config.Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019)."""
    clip = [optax.clip_by_global_norm(settings.clip)] if settings.clip else []
    adam = optax.scale_by_adam(settings.b1, settings.b2, settings.epsilon)
    decay = []
    if settings.name == "adamw" and settings.weight_decay:
        decay = [optax.add_decayed_weights(settings.weight_decay, mask=_matrices)]
    return optax.chain(*clip, adam, *decay, optax.scale_by_learning_rate(rate))


def _matrices(parameters: optax.Params) -> optax.Params:
    """True where weights decay. Layers are stacked [L, ...], so a bias or norm is told by its name."""

    def decays(path: tuple[jax.tree_util.DictKey, ...], _: Array) -> bool:
        name = str(path[-1].key)
        return not (name.endswith("bias") or name == "scale")

    return jax.tree_util.tree_map_with_path(decays, parameters)
