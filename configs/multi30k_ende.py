"""Multi30k English-German on the published lower-cased tokenised text: a small Transformer for 2 CPU cores.

transformer train multi30k_ende && transformer evaluate runs/multi30k_ende --tokenize none

Lower-cased tokenised BLEU on test_2016_flickr, beam 5: 38.5 (95% interval 36.9 to 40.1) after all 4,000 updates, 22
minutes; 37.9 (36.3 to 39.5) when stopped at 20 minutes (2,970 updates, `--training.minutes 20`, interrupted and resumed
once). Each is one run, seed 1, November 2026, on 2 cores of an AMD EPYC that other programs shared: alone the machine
does about twice the updates a minute.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
)

config = Config(
    data=Data(
        source="files",
        languages=("en", "de"),
        train="data/multi30k/tok/train",
        validation="data/multi30k/tok/val",
        test="data/multi30k/tok/test_2016_flickr",
        max_length=64,
    ),
    tokenizer=Tokenizer(kind="bpe", vocabulary=6_000, joint=True),
    batching=Batching(tokens=2_048, shapes=5),
    model=Transformer(
        encoder_layers=4,
        decoder_layers=4,
        width=128,
        feedforward=256,
        attention=Attention(heads=4),
        dropout=0.2,
        norm="pre",
        unroll=True,
    ),
    schedule=Schedule(name="cosine", peak=4e-3, warmup=500),
    training=Training(steps=4_000, validate_every=500),
    decoding=Decoding(beam=5, length_penalty=1.0),
)
