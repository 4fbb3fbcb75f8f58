"""WMT14 English-German, the big Transformer of Vaswani et al. 2017: 28.4 BLEU on newstest2014 (Table 2).

transformer data prepare wmt14_ende_big
transformer train wmt14_ende_big
transformer evaluate runs/wmt14_ende_big

As published: `wmt14_ende_base` with width 1024, feed-forward 4096, 16 heads, dropout 0.3, 300,000 updates (3.5 days on
8 P100), the last 20 checkpoints averaged.

Estimated, not measured (experiments/throughput/estimate.py): 3.31e13 useful operations per update (800 rows of 32 + 32
real tokens; XLA counts 3.32e13 in the compiled update), so 9.9e18 in all: 9.3 hours on one H100 at 30% of its 989e12
per second, 25 on one A100 at 35% of its 312e12. Memory: 214 million parameters x 16 bytes (parameter, gradient, two
moments) = 3.2 GiB; activations in bfloat16, 25,600 tokens per side x 1,024 x 2 bytes x 12 layers x about 25 values kept
= 14.6 GiB; logits of 4,096 tokens x 37,000 x 4 bytes x 2 = 1.1 GiB: about 20 GiB. `--training.remat cheap` or
`--training.accumulate 2` reduce it.

Run: `--smoke` only. Not run at full size: no accelerator was available.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Transformer

_, base = recipes.find("wmt14_ende_base")
config = dataclasses.replace(
    base,
    model=Transformer(
        encoder_layers=6,
        decoder_layers=6,
        width=1_024,
        feedforward=4_096,
        attention=Attention(heads=16),
        dropout=0.3,
    ),
    # 20 checkpoints at intervals of 10 minutes, at their speed of one second per update
    training=dataclasses.replace(base.training, steps=300_000, validate_every=600, keep_last=20),
)
