"""The embedded grammar, English to German: the recipe to learn on and to compare attentions with."""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Decoding,
    Optimizer,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
)

config = Config(
    tokenizer=Tokenizer(kind="word", vocabulary=8_000, joint=False),
    batching=Batching(tokens=2_048, shapes=4),
    model=Transformer(
        encoder_layers=3,
        decoder_layers=3,
        width=128,
        feedforward=512,
        norm="pre",
        tie="target",
        dropout=0.1,
        unroll=True,
        attention=Attention(heads=4),
    ),
    optimizer=Optimizer(clip=1.0),
    schedule=Schedule(name="cosine", peak=3e-3, warmup=400),
    training=Training(steps=6_000, validate_every=1_000),
    decoding=Decoding(beam=4, length_penalty=0.6),
)
