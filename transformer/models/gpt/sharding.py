"""How the parameters of a decoder-only model, and the keys and values of a search, are sharded."""

from jax.sharding import PartitionSpec

from transformer.distributed.sharding import ROWS, Rules

PARAMETERS: Rules = (
    (r"attention/(query|key|value)$", PartitionSpec(None, "fsdp", "model", None)),  # [L, D, H, K]
    (r"attention/(query|key|value)_bias$", PartitionSpec(None, "model", None)),  # [L, H, K]
    (r"attention/output$", PartitionSpec(None, "model", None, "fsdp")),  # [L, H, K, D]
    (r"attention/relative/weights/buckets$", PartitionSpec(None, "model", None)),  # [L, H, R]
    (r"feedforward/(inner|gate)$", PartitionSpec(None, "fsdp", "model")),  # [L, D, F]
    (r"feedforward/inner_bias$", PartitionSpec(None, "model")),  # [L, F]
    (r"feedforward/outer$", PartitionSpec(None, "model", "fsdp")),  # [L, F, D]
)

CACHES: Rules = ((r"(keys|values)(/\d+)?$", PartitionSpec(ROWS, "model")),)  # [B, G, ...], one for each layer
