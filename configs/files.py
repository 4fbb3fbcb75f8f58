"""Your own parallel text: one sentence per line, the same number of lines in both files.

    transformer train files --data.train my/corpus --data.languages en de --run runs/mine

reads my/corpus.en and my/corpus.de (plain or .gz), holds 1,000 pairs out for validation, and trains a small
Transformer. `--data.validation` and `--data.test` name your own sets. A few tens of thousands of pairs of everyday
length take about an hour on 2 CPU cores; a larger corpus needs a larger `--model.width` and an accelerator. `--smoke`
shows within a minute that everything works together.
"""

from transformer.config import Batching, Config, Data, Decoding, Schedule, Tokenizer, Training, Transformer

config = Config(
    data=Data(source="files", languages=("en", "de"), max_length=100),
    tokenizer=Tokenizer(kind="bpe", vocabulary=8_000, joint=True),
    batching=Batching(tokens=4_096, shapes=6),
    model=Transformer(
        encoder_layers=4, decoder_layers=4, width=256, feedforward=1024, norm="pre", dropout=0.2, unroll=True
    ),
    schedule=Schedule(name="inverse_sqrt", peak=1e-3, warmup=1_000),
    training=Training(steps=20_000, validate_every=1_000, patience=5),
    decoding=Decoding(beam=5, length_penalty=1.0),
)
