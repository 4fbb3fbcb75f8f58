"""Tatoeba English-German: short everyday sentences, a small Transformer within an hour on 2 CPU cores."""

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
        train="data/tatoeba-en-de/train",
        test="data/tatoeba-en-de/dev",
        max_length=64,
    ),
    tokenizer=Tokenizer(kind="bpe", vocabulary=5_000, joint=True),
    batching=Batching(tokens=2_048, shapes=5),
    model=Transformer(
        encoder_layers=4,
        decoder_layers=4,
        width=128,
        feedforward=256,
        attention=Attention(heads=4),
        dropout=0.1,
        norm="pre",
        unroll=True,
    ),
    schedule=Schedule(name="cosine", peak=3e-3, warmup=600),
    training=Training(steps=3_600, validate_every=400, keep_last=4, average="last"),
    decoding=Decoding(beam=5, length_penalty=1.0),
)
