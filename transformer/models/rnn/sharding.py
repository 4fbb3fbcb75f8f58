"""How a recurrent model's matrices are sharded: their rows over `fsdp`."""

from jax.sharding import PartitionSpec

from transformer.distributed.sharding import Rules

PARAMETERS: Rules = ((r"(input|recurrent|combine|deep|maps/\d+)$", PartitionSpec("fsdp", None)),)
