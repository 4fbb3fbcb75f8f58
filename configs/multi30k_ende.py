"""Multi30k English-German on the published lower-cased tokenised text: a small Transformer for 2 CPU cores."""

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
