"""Multi30k English-German with Luong's attention (general, input feeding): data and tokenizer of `multi30k_ende`.

transformer train multi30k_ende_luong && transformer evaluate runs/multi30k_ende_luong --tokenize none

Test, lower-cased tokenised BLEU, beam 5, the best checkpoint: 37.0 and 37.2 (seeds 1 and 2; 95% interval of each about
35.4 to 38.7). Validation, greedy: 37.1 and 36.8. 50 and 60 minutes of training on one core of an AMD EPYC, with other
work on the other; November 2026.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Batching, Rnn, Schedule, Training

_, transformer = recipes.find("multi30k_ende")
config = dataclasses.replace(
    transformer,
    batching=Batching(tokens=2_048, shapes=6),
    model=Rnn(
        decoder="luong",
        cell="lstm",
        bidirectional=True,
        embedding=256,
        encoder_width=256,
        width=512,
        readout=256,
        attention=Attention(score="general"),
        tie="all",
        dropout=0.3,
    ),
    schedule=Schedule(name="cosine", peak=2e-3, warmup=400),
    training=Training(steps=6_000, validate_every=500),
)
