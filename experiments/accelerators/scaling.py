"""Estimated efficiency of training on up to 256 chips: python experiments/accelerators/scaling.py

Nothing here is measured. An update computes for `operations / (chips * peak * MFU)` seconds and then sums its gradients
for `bytes / (bandwidth * REACHED)` seconds; the two do not overlap, because the project sums once, at the end of the
update. The efficiency is the share of the time that is computation. Latency, waiting for data and uneven hosts are left
out. Prints the tables of docs/explanation/scaling.md.
"""

from dataclasses import dataclass

import numpy as np

from transformer.config import Attention, Transformer

MFU = 0.4
"""Share of the peak that a chip reaches while it computes."""
REACHED = 0.8
"""Share of the makers' bandwidth that collectives reach."""
FLOAT32, BFLOAT16 = 4, 2
VOCABULARY = 37_000
LENGTH = 28
"""Tokens of each side of every sentence."""
CHIPS = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Network:
    """Chips in groups: fast links within a group, slower ones between groups."""

    name: str
    peak: float
    """FLOP/s of a chip in bfloat16."""
    fast: float
    """Bytes per second that a chip sends to chips of its group, all links together."""
    group: int
    """Chips of a group."""
    slow: float
    """Bytes per second that a chip sends to other groups."""


NETWORKS = (
    # 900 GB/s in both directions together (NVIDIA H100 datasheet); ConnectX-7, 400 Gb/s for each GPU (DGX H100 guide)
    Network("H100, NVLink and InfiniBand NDR", 989e12, 450e9, 8, 50e9),
    # ICI 400 GB/s in both directions together; a pod has 256 chips (Cloud TPU documentation, v5e)
    Network("TPU v5e, ICI", 197e12, 200e9, 256, 25e9 / 8),
    # ICI 1,200 GB/s in both directions together; data centre network 50 Gb/s a chip (Cloud TPU documentation, v5p)
    Network("TPU v5p, ICI", 459e12, 600e9, 8_960, 50e9 / 8),
)


def sent(size: float, chips: int) -> float:
    """Bytes that each chip sends when `size` bytes are summed over `chips`, by a ring: (n - 1) / n of them to scatter
    the sums, and as many to gather them."""
    return 2 * (chips - 1) / chips * size


def sum_seconds(size: float, chips: int, network: Network, within: int) -> float:
    """Seconds to sum `size` bytes over `chips`, of which `within` are in each group: scattered within the group, summed
    between groups, gathered within the group."""
    inside = min(chips, within)
    seconds = sent(size, inside) / network.fast + sent(size / inside, chips // inside) / network.slow
    return seconds / REACHED


def gradient_bytes(parameters: int, model: int = 1) -> float:
    """Bytes of the gradients on a chip: float32, each chip of the axis `model` having its part.

    FSDP gathers as many bytes of parameters before an update and scatters as many of gradients after it, so each chip
    sends what the ring of data parallelism sends.
    """
    return FLOAT32 * parameters / model


def activation_bytes(model: Transformer, tokens: float) -> float:
    """Bytes of the activations that are summed over the axis `model` in an update, for `tokens` tokens of each side on
    a chip, as XLA compiles it: forward after each attention and feed-forward layer; backward for each product by which
    activations enter one, so that query, key and value are three; the embeddings of both sides; and the gradient of the
    decoder's output. (By hand queries, keys and values need one sum together; Shoeybi et al. 2019, section 3.)
    """
    encoder, decoder = 2 + 4, 3 + 7
    sums = encoder * model.encoder_layers + decoder * model.decoder_layers + 3
    return BFLOAT16 * tokens * model.width * sums


def efficiency(
    model: Transformer, parameters: int, tokens: int, chips: int, network: Network, tensor: int = 1
) -> float:
    """Share of an update's time that is computation.

    Args:
        model: settings of a Transformer.
        parameters: how many it has.
        tokens: of each side in an update, over all chips.
        chips: of the job.
        network: between them.
        tensor: size of the axis `model`; the other chips are on `data` or `fsdp`.
    """
    lengths = np.full(tokens // LENGTH, LENGTH)
    operations = 6.0 * model.multiplications(lengths, lengths, VOCABULARY)
    compute = operations / (chips * network.peak * MFU)
    replicas = chips // tensor
    seconds = sum_seconds(gradient_bytes(parameters, tensor), replicas, network, max(network.group // tensor, 1))
    if tensor > 1:
        seconds += sum_seconds(activation_bytes(model, tokens / replicas), tensor, network, network.group)
    return compute / (compute + seconds)


def models() -> dict[str, Transformer]:
    """Transformer base and big (Vaswani et al. 2017, table 3)."""
    shapes = {"base": (512, 2_048, 8), "big": (1_024, 4_096, 16)}
    return {
        name: Transformer(
            encoder_layers=6, decoder_layers=6, width=width, feedforward=inner, attention=Attention(heads=heads)
        )
        for name, (width, inner, heads) in shapes.items()
    }


def count(model: Transformer) -> int:
    """Parameters of a model with `VOCABULARY`."""
    import jax
    from flax import nnx

    from transformer.models.build import create, split

    _, parameters = split(nnx.eval_shape(lambda: create(model, VOCABULARY, VOCABULARY, 1)))
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))


def table(model: Transformer, parameters: int, tokens: int) -> str:
    """A Markdown table: a row for each network and mesh, a column for each number of chips."""
    lines = ["| network | mesh | " + " | ".join(map(str, CHIPS)) + " |", "|---|---|" + "---|" * len(CHIPS)]
    for network in NETWORKS:
        for tensor, mesh in ((1, "data or fsdp"), (8, "model 8, the rest data")):
            shares = [efficiency(model, parameters, tokens, chips, network, tensor) for chips in CHIPS]
            lines.append(f"| {network.name} | {mesh} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    for name, model in models().items():
        parameters = count(model)
        gradients = gradient_bytes(parameters) / 1e6
        print(f"Transformer {name}: {parameters:,} parameters, {gradients:,.0f} MB of gradients")
        for chips in (8, 256):
            print(f"  {chips} chips: each sends {sent(gradient_bytes(parameters), chips) / 1e6:,.0f} MB an update")
        print(f"  model 8: {activation_bytes(model, 400_000 * 8 / 256) / 1e6:,.0f} MB of activations at 256 chips")
        for tokens in (400_000, 25_000):
            print(f"\n{name}, {tokens:,} tokens of each side\n\n{table(model, parameters, tokens)}\n")
