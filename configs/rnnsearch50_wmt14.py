"""WMT14 English-French as Bahdanau et al. 2015, RNNsearch-50: 26.75 BLEU on newstest2014 (Table 1).

transformer data prepare rnnsearch50_wmt14
transformer train rnnsearch50_wmt14
transformer evaluate runs/rnnsearch50_wmt14

"Neural Machine Translation by Jointly Learning to Align and Translate": 26.75 tokenised BLEU after 288,000 updates (111
hours), 28.45 after 667,000. As published (appendix A and B): bidirectional GRU of 1000, decoder of 1000, embeddings of
620, alignment model of 1000, maxout of 500; 30,000 words per side, sentences of at most 50 words, batches of 80
sentences, Adadelta (rho 0.95, epsilon 1e-6), clipped at 1. The paper selects 348 million words of WMT14 by their
similarity to news; this recipe uses all of it.

Estimated, not measured (experiments/throughput/estimate.py): 6.5e11 useful operations per update (80 rows of 32 + 32
real tokens), so 1.9e17 in all: 0.5 hours on one H100, 1.7 on one A100, at 10% of their peaks (989e12 and 312e12 per
second), and more if the latency of the 51 steps of a sentence dominates. Memory: 80.4 million parameters x 16 bytes
(parameter, gradient, two means) = 1.2 GiB; activations, energies of 80 rows x 51 x 51 x 1,000 x 2 bytes = 0.4 GiB,
states 80 x 102 x 12,000 x 4 = 0.4 GiB; logits of 2,048 tokens x 30,000 x 4 bytes x 2 = 0.5 GiB: about 3 GiB.

The papers count words of tokenised text. TFDS's text is raw, and words are separated by spaces here ("dog." is one
word), so for comparable figures tokenise the text first and name it with `--data.source files`.

Run: `--smoke` only. Not run at full size: no accelerator was available.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Optimizer,
    Rnn,
    Schedule,
    Tokenizer,
    Training,
    Translation,
)

config = Config(
    data=Data(
        source="tfds:wmt14_translate/fr-en",
        languages=("en", "fr"),
        train="train",
        validation="validation",
        test="test",
        max_length=51,  # 50 words and EOS
    ),
    tokenizer=Tokenizer(kind="word", vocabulary=30_000, joint=False),
    batching=Batching(rows=80, shapes=8),
    model=Rnn(
        decoder="bahdanau",
        cell="gru",
        bidirectional=True,
        embedding=620,
        encoder_width=1_000,
        width=1_000,
        readout=500,
        attention=Attention(score="additive", hidden=1_000),
        dropout=0.0,
    ),
    optimizer=Optimizer(name="adadelta", clip=1.0),
    schedule=Schedule(name="constant", peak=1.0, warmup=0),
    task=Translation(label_smoothing=0.0, mean_over="sentences", metric="loss"),
    training=Training(
        steps=288_000,
        precision="bfloat16",
        loss_chunk=2_048,
        log_every=100,
        validate_every=5_000,
    ),
    decoding=Decoding(beam=12, normalize="none"),
)
