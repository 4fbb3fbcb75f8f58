"""WMT14 English-German, the base Transformer of Vaswani et al. 2017: 27.3 BLEU on newstest2014 (Table 2).

transformer data prepare wmt14_ende_base     # downloads 1.6 GB; needs pip install 'attention-transformer[tfds]'
transformer train wmt14_ende_base
transformer evaluate runs/wmt14_ende_base

As published: 6 + 6 layers of width 512, one vocabulary of 37,000 pieces, about 25,000 source and 25,000 target tokens
per update, 100,000 updates (12 hours on 8 P100), the last 5 checkpoints averaged, beam 4, length penalty 0.6. That is
tokenised BLEU with compounds split; with sacreBLEU the same parameters have 27.52 (tensor2tensor's checkpoint).

Estimated, not measured (experiments/throughput/estimate.py): 9.76e12 useful operations per update (800 rows of 32 + 32
real tokens; XLA counts 9.86e12 in the compiled update), so 9.8e17 in all: 0.9 hours on one H100 at 30% of its 989e12
per second, 2.5 on one A100 at 35% of its 312e12. Memory: 63.0 million parameters x 16 bytes (parameter, gradient, two
moments) = 0.94 GiB; activations in bfloat16, 25,600 tokens per side x 512 x 2 bytes x 12 layers x about 25 values kept
= 7.3 GiB; logits of 4,096 tokens x 37,000 x 4 bytes x 2 = 1.1 GiB: about 10 GiB.

Run: `--smoke`, and all commands on a stand-in of 13,573 pairs prepared under the dataset's real name (experiments/wmt).
Not run at full size: no accelerator was available.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Optimizer,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
)

config = Config(
    data=Data(
        source="tfds:wmt14_translate/de-en",
        languages=("en", "de"),
        train="train",
        validation="validation",  # newstest2013
        test="test",  # newstest2014
        max_length=128,
    ),
    tokenizer=Tokenizer(kind="bpe", vocabulary=37_000, joint=True),
    batching=Batching(tokens=25_600, shapes=12, length_multiple=8),
    model=Transformer(
        encoder_layers=6,
        decoder_layers=6,
        width=512,
        feedforward=2_048,
        attention=Attention(heads=8),
        dropout=0.1,
    ),
    optimizer=Optimizer(b1=0.9, b2=0.98, epsilon=1e-9, clip=0.0),
    schedule=Schedule(name="noam", peak=1.0, warmup=4_000),
    training=Training(
        steps=100_000,
        precision="bfloat16",
        loss_chunk=4_096,
        log_every=100,
        validate_every=1_500,
        keep_last=5,
        average="last",
    ),
    decoding=Decoding(beam=4, length_penalty=0.6, max_ratio=1.0, max_extra=50),
)
