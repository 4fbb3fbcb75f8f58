"""WMT14 English-German, the big Transformer of Vaswani et al. 2017: 28.4 BLEU on newstest2014 (Table 2).

transformer data prepare wmt14_ende_big
transformer train wmt14_ende_big
transformer evaluate runs/wmt14_ende_big

As published: `wmt14_ende_base` with width 1024, feed-forward 4096, 16 heads, dropout 0.3, 300,000 updates (3.5 days on
8 P100), the last 20 checkpoints averaged.

{estimate}

Truly run: `--smoke`. Not run at full size: no accelerator was at hand.
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
    training=dataclasses.replace(base.training, steps=300_000, keep_last=20),
)
