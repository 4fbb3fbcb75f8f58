"""A decoder-only language model of the embedded grammar's English side, line by line.

transformer train grammar_lm && transformer evaluate runs/grammar_lm
echo "the old man" | transformer predict runs/grammar_lm

1.4 million parameters. No result yet.
"""

from transformer.config import Attention, Batching, Config, Decoding, Gpt, LanguageModel, Schedule, Tokenizer, Training

config = Config(
    tokenizer=Tokenizer(kind="bpe", vocabulary=3_000),
    batching=Batching(tokens=2_048, shapes=5),
    task=LanguageModel(),
    model=Gpt(
        layers=4, width=128, feedforward=512, attention=Attention(heads=4), max_length=128, dropout=0.1, unroll=True
    ),
    schedule=Schedule(name="cosine", peak=3e-3, warmup=400),
    training=Training(steps=5_000, validate_every=1_000),
    decoding=Decoding(samples=1),
)
