"""Shakespeare by characters: a decoder-only language model as small as nanoGPT's for a CPU.

transformer train shakespeare_char --data.train input.txt.gz --run runs/shakespeare
echo | transformer predict runs/shakespeare --samples 1 --max-length 500

`input.txt` is the text of 1.1 million characters that nanoGPT (`data/shakespeare_char`) names; its last tenth is the
validation set. 4 layers, 4 heads, 128 wide, blocks of 64 characters, batches of 12, 2,000 updates, no dropout.

Validation loss 1.863 nats per character on the whole validation set (nanoGPT's README reports 1.88, estimated on 20
random batches). 3.7 minutes on one of 2 cores of an AMD EPYC that other programs shared (one run, seed 1, November
2026). Every block begins with the begin token, so that its first character is predicted without context.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Gpt,
    LanguageModel,
    Optimizer,
    Schedule,
    Tokenizer,
    Training,
)

config = Config(
    data=Data(source="files", train="data/shakespeare/input.txt", max_length=64),
    tokenizer=Tokenizer(kind="characters", vocabulary=1_000),
    batching=Batching(rows=12, batch_multiple=4, tokens=768),
    task=LanguageModel(texts="file", block=64),
    model=Gpt(
        layers=4, width=128, feedforward=512, attention=Attention(heads=4), max_length=64, dropout=0.0, unroll=True
    ),
    optimizer=Optimizer(name="adamw", b2=0.99, epsilon=1e-8, weight_decay=0.1),
    schedule=Schedule(name="cosine", peak=1e-3, warmup=100, final=0.1),
    training=Training(steps=2_000, validate_every=1_000),
    decoding=Decoding(samples=1),
)
