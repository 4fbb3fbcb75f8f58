"""Attention as published modules compute it: their outputs, as constants, for the same inputs and parameters.

Made in float64 by OpenNMT-py (onmt/modules/global_attention.py at commit 97111d97: `GlobalAttention`), JoeyNMT
(joeynmt/attention.py at commit cdc4d03: `BahdanauAttention`, `LuongAttention`) and PyTorch 2.14
(`torch.nn.MultiheadAttention`). The second sentence of each pair has 3 tokens, and padding.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from transformer.attention.mechanism import Mechanism
from transformer.attention.multihead import MultiHead
from transformer.config import Attention

LENGTHS = np.array([5, 3])
MASK = jnp.asarray(np.arange(5)[None] < LENGTHS[:, None])
POSITION = jnp.zeros((1, 1), jnp.int32)
WEIGHTS = {
    "OpenNMT-py dot": [[0.877766, 0.001262, 0.087732, 0.030308, 0.002933],
     [0.000584, 0.998091, 0.001325, 0.0, 0.0]],
    "OpenNMT-py general": [[0.569691, 6e-06, 0.424768, 8.3e-05, 0.005451],
     [0.001187, 0.998414, 0.000398, 0.0, 0.0]],
    "OpenNMT-py mlp": [[0.283153, 0.051953, 0.315493, 0.05365, 0.29575],
     [0.144134, 0.290612, 0.565254, 0.0, 0.0]],
    "JoeyNMT Bahdanau": [[0.82653, 0.036569, 0.026535, 0.028759, 0.081607],
     [0.343165, 0.341256, 0.315579, 0.0, 0.0]],
    "JoeyNMT Luong": [[0.000531, 0.000102, 0.000663, 0.037454, 0.961249],
     [0.007741, 0.126697, 0.865562, 0.0, 0.0]],
}  # fmt: skip
OUTPUTS = {
    "OpenNMT-py dot": [[0.999337, -0.982339, -0.175098, 0.990014],
     [-0.998875, 0.996756, -0.899172, -0.680521]],
    "OpenNMT-py general": [[0.999573, -0.957321, -0.808509, 0.998859],
     [-0.998884, 0.996773, -0.899214, -0.681748]],
    "OpenNMT-py mlp": [[2.530783, -0.215962, -2.180452, 3.753061],
     [0.796013, -1.381279, 1.444679, -0.962259]],
    "JoeyNMT Bahdanau": [[1.212034, 1.431471, 0.567599, -0.72582, -1.469954, -1.101655],
     [1.373728, 0.345559, -0.944122, -1.519311, -0.944715, 0.344822]],
    "JoeyNMT Luong": [[-1.174205, -1.968492, -1.273064, 0.385794, 1.752691, 1.793186],
     [1.779742, 1.628934, 0.245382, -1.323871, -1.891244, -1.027362]],
}  # fmt: skip
"""OpenNMT-py: the attentional vector (mlp: without its tanh). JoeyNMT: the context."""
TORCH_WEIGHTS = [[[0.000837, 0.019054, 0.360653, 0.567424, 0.052032],
     [0.948332, 0.001593, 3e-05, 0.000142, 0.049903]],
     [[0.558446, 0.016209, 0.425345, 0.0, 0.0],
     [0.420287, 0.396386, 0.183327, 0.0, 0.0]]]  # fmt: skip
TORCH_OUTPUTS = [[1.115252, -1.036091, -0.172379, 1.19296, -0.913251, -0.361875, 1.242568, -0.768899],
     [-0.10322, 0.479834, -0.333442, -0.176391, 0.493963, -0.273131, -0.245406, 0.496458]]  # fmt: skip


def fixed(*shape, step):
    """Numbers that look irregular and need no file."""
    return np.sin(1 + step * np.arange(np.prod(shape))).reshape(shape)


def parameters(name):
    """By our names; theirs are matrices [outputs, inputs]."""
    if name == "OpenNMT-py general":
        return "general", {"bilinear": fixed(4, 4, step=1.3).T}
    if name == "OpenNMT-py mlp":
        memory, query, vector = fixed(4, 4, step=1.3), fixed(4, 4, step=1.7), fixed(4, step=2.1)
        return "additive", {"memory": memory.T, "query": query.T, "vector": vector}
    if name == "JoeyNMT Bahdanau":
        memory, query, vector = fixed(3, 6, step=1.3), fixed(3, 4, step=1.7), fixed(3, step=2.1)
        return "additive", {"memory": memory.T, "query": query.T, "vector": vector}
    if name == "JoeyNMT Luong":
        return "general", {"bilinear": fixed(4, 6, step=1.3)}
    return "dot", {}


@pytest.mark.parametrize("name", WEIGHTS)
def test_recurrent_attention_is_that_of_other_toolkits(name):
    score, weights = parameters(name)
    width = 6 if name.startswith("Joey") else 4
    mechanism = Mechanism(Attention(score=score, hidden=len(weights.get("vector", ()))), 4, width, rngs=nnx.Rngs(0))
    for parameter, value in weights.items():
        mechanism.score_weights[parameter][...] = jnp.asarray(value, jnp.float32)
    query = jnp.asarray(fixed(2, 1, 4, step=0.7), jnp.float32)
    memory = jnp.asarray(2 * fixed(2, 5, width, step=0.9), jnp.float32)
    context, found = mechanism(query, mechanism.project(memory), memory, MASK[:, None], POSITION, jnp.asarray(LENGTHS))
    np.testing.assert_allclose(found[:, 0], WEIGHTS[name], atol=2e-6)
    output = np.asarray(context)
    if name.startswith("OpenNMT"):
        output = np.concatenate([output, query], -1) @ fixed(4, 8, step=1.1).T
        output = output if name.endswith("mlp") else np.tanh(output)
    np.testing.assert_allclose(output[:, 0], OUTPUTS[name], atol=1e-5)


def test_multi_head_attention_is_that_of_torch():
    """Its projections are one matrix [3 D, D]: query, key, value, head after head."""
    attention = MultiHead(Attention(heads=2), 8, 0.0, rngs=nnx.Rngs(0))
    query, key, value = np.split(fixed(24, 8, step=0.37), 3)
    for name, matrix in (("query", query), ("key", key), ("value", value)):
        getattr(attention, name)[...] = jnp.asarray(matrix.T.reshape(8, 2, 4), jnp.float32)
    attention.output[...] = jnp.asarray(fixed(8, 8, step=0.53).T.reshape(2, 4, 8), jnp.float32)
    x, memory = (jnp.asarray(fixed(2, n, 8, step=step), jnp.float32) for n, step in ((1, 0.7), (5, 0.9)))
    output, weights = attention(x, *attention.project(memory), MASK[:, None, None], POSITION, jnp.asarray(LENGTHS))
    np.testing.assert_allclose(weights[:, :, 0], TORCH_WEIGHTS, atol=2e-6)
    np.testing.assert_allclose(output[:, 0], TORCH_OUTPUTS, atol=2e-5)
