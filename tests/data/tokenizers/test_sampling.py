import itertools
import math
import pickle
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from transformer import check, config
from transformer.data.tokenizers import sampling
from transformer.data.tokenizers.tokenizer import Tokenizer
from transformer.data.tokenizers.train import train_tokenizers
from transformer.errors import UsageError
from transformer.special_tokens import UNK

TEXTS = [
    "the lower and lowest newest tower of the town",
    "der größte Löwe über der Straße löst das neue Rätsel",
    "widest river newer flower slower",
    "low lower lowest new newer newest wide wider widest",
] * 4
DRAWS = 20_000


def trained(kind: str, vocabulary: int = 110, **fields: object) -> Tokenizer:
    return train_tokenizers(config.Tokenizer(kind=kind, vocabulary=vocabulary, **fields), TEXTS, []).source


@pytest.fixture(scope="module")
def bpe():
    return trained("bpe")


@pytest.fixture(scope="module")
def unigram():
    return trained("unigram")


@pytest.fixture(scope="module", params=[False, True])
def undropped(request):
    made = trained("bpe", 370 if request.param else 110, byte_fallback=request.param)
    return made, sampling.sampler(made, 0.0)


LETTERS = st.sampled_from(
    [*"lowerstnid  ▁", "lower", "est", "the", "ö", "ß", "☃", "🙂", "\t", "\u00a0", "\0", "e\u0301"]
)


@settings(deadline=None)
@example("")
@example(" ")
@example("▁")
@example(" ▁ ▁ ")
@example("a ▁")
@example("▁▁lower ▁▁  newest▁")
@example("☃☃lower☃ ☃")
@example("newest 🙂🙂 größte\u2028Straße \ufffd ﬁ")
@example("<s> </s> <unk> <0xE4>")
@example("lowest" * 40)
@given(st.one_of(st.lists(LETTERS).map("".join), st.text(st.characters(exclude_categories=["Cs"]))))
def test_without_dropout_it_is_sentencepiece(undropped, text):
    made, sampler = undropped
    assert sampler.encode(text, 1, 2, 3, 0) == made.encode(text)


def test_all_dropped_gives_characters(bpe):
    sampler = sampling.sampler(bpe, 1.0)
    for text in TEXTS[:4]:
        pieces = bpe.pieces(sampler.encode(text, 1, 2, 3, 0))
        assert pieces == list("▁" + text.replace(" ", "▁"))


def test_every_sample_spells_its_text(bpe, unigram):
    for made, rate in ((bpe, 0.1), (bpe, 0.7), (unigram, 0.2)):
        encoded = sampling.sampler(made, rate).encode_all(TEXTS * 20, 1, 2, range(20 * len(TEXTS)), 0)
        assert [made.decode(ids) for ids in encoded] == TEXTS * 20


def frequencies(made: Tokenizer, rate: float, word: str) -> Counter[tuple[str, ...]]:
    encoded = sampling.sampler(made, rate).encode_all([word] * DRAWS, 5, 1, range(DRAWS), 1)
    return Counter(tuple(made.pieces(ids)) for ids in encoded)


def fits(counts: Counter[tuple[str, ...]], expected: dict[tuple[str, ...], float]) -> float:
    """The p-value of a chi-square test; outcomes expected fewer than five times are merged."""
    assert set(counts) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    often = [outcome for outcome, chance in expected.items() if chance * DRAWS >= 5]
    observed = [counts[outcome] for outcome in often]
    wanted = [expected[outcome] * DRAWS for outcome in often]
    rest = DRAWS - sum(wanted)
    if rest > 1e-6:
        observed.append(DRAWS - sum(observed))
        wanted.append(rest)
    assert len(wanted) > 2  # there is something to sample
    return float(chisquare(observed, wanted, sum_check=False).pvalue)


def dropout_by_enumeration(made: Tokenizer, rate: Fraction, word: str) -> dict[tuple[str, ...], float]:
    """Algorithm 1 of Provilkov et al. with every subset of dropped merges at every step."""
    order = {piece: number for number, piece in enumerate(made.pieces(range(made.size)))}

    @cache
    def outcomes(split: tuple[str, ...]) -> Counter[tuple[str, ...]]:
        merges = [i for i in range(len(split) - 1) if split[i] + split[i + 1] in order]
        found: Counter[tuple[str, ...]] = Counter()
        for dropped in itertools.product([True, False], repeat=len(merges)):
            chance = math.prod((rate if drop else 1 - rate for drop in dropped), start=Fraction(1))
            left = [i for i, drop in zip(merges, dropped, strict=True) if not drop]
            if not left:
                found[split] += chance
                continue
            best = min(left, key=lambda i: (order[split[i] + split[i + 1]], i))
            after = (*split[:best], split[best] + split[best + 1], *split[best + 2 :])
            for end, probability in outcomes(after).items():
                found[end] += chance * probability
        return found

    return {end: float(chance) for end, chance in outcomes(tuple("▁" + word)).items()}


@pytest.mark.parametrize("word", ["lowest", "newer", "ererer"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_bpe_dropout_follows_its_algorithm(bpe, word, rate):
    expected = dropout_by_enumeration(bpe, Fraction(rate), word)
    assert fits(frequencies(bpe, rate, word), expected) > 1e-3


def test_the_test_rejects_another_rate(bpe):
    expected = dropout_by_enumeration(bpe, Fraction(0.12), "lowest")
    assert fits(frequencies(bpe, 0.1, "lowest"), expected) < 1e-3


def unigram_by_enumeration(made: Tokenizer, alpha: float, word: str) -> dict[tuple[str, ...], float]:
    """P(x)^alpha over all segmentations, from sentencepiece's own n-best search. (Unknown characters have the same
    score in all of them, which cancels.)"""
    model = sentencepiece.SentencePieceProcessor(model_proto=made.content)
    every = model.nbest_encode(word, nbest_size=512, out_type=str)
    assert len(set(map(tuple, every))) == len(every) < 512
    weights = {
        tuple(pieces): math.exp(alpha * sum(model.get_score(model.piece_to_id(piece)) for piece in pieces))
        for pieces in every
    }
    return {pieces: weight / sum(weights.values()) for pieces, weight in weights.items()}


@pytest.mark.parametrize("word", ["lowest", "newer", "towerö"])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_unigram_samples_segmentations_in_proportion_to_their_power(unigram, word, alpha):
    assert fits(frequencies(unigram, alpha, word), unigram_by_enumeration(unigram, alpha, word)) > 1e-3


def test_unknown_characters_of_unigram(unigram):
    def shown(ids: list[int]) -> list[str]:
        return ["☃" if id_ == UNK else piece for id_, piece in zip(ids, unigram.pieces(ids), strict=True)]

    expected: Counter[tuple[str, ...]] = Counter()
    for pieces, chance in unigram_by_enumeration(unigram, 0.3, "low☃☃er").items():
        expected[tuple("☃" if "☃" in piece else piece for piece in pieces)] += chance
    sampler = sampling.sampler(unigram, 0.3)
    encoded = sampler.encode_all(["low☃☃er"] * DRAWS, 5, 1, range(DRAWS), 1)
    assert all(ids.count(UNK) == 1 for ids in encoded)
    assert fits(Counter(tuple(shown(ids)) for ids in encoded), expected) > 1e-3
    spelt = trained("unigram", 370, byte_fallback=True)
    for text in ("low☃☃er", "🙂 größte☃"):
        ids = sampling.sampler(spelt, 0.3).encode(text, 1, 2, 3, 0)
        assert spelt.decode(ids) == text
        assert UNK not in ids


def test_long_words_neither_underflow_nor_hang(bpe, unigram):
    for made, rate in ((bpe, 0.3), (unigram, 0.3), (unigram, 1.0)):
        for word in ("lowest" * 1000, "lo" + "☃" * 3000):
            ids = sampling.sampler(made, rate).encode(word, 1, 2, 3, 0)
            assert "".join(p for p in made.pieces(ids) if p != "<unk>") == "▁" + word.replace("☃", "")


def test_the_cache_changes_nothing(bpe, unigram, monkeypatch):
    texts = TEXTS * 30
    for made, rate in ((bpe, 0.1), (unigram, 0.2)):
        warm = sampling.sampler(made, rate)
        warm.encode_all(texts, 8, 8, range(len(texts)), 0)
        encoded = warm.encode_all(texts, 1, 2, range(len(texts)), 0)
        assert encoded == [
            sampling.sampler(made, rate).encode(text, 1, 2, number, 0) if number % 8 == 0 else encoded[number]
            for number, text in enumerate(texts)
        ]
        backwards = sampling.sampler(made, rate).encode_all(texts[::-1], 1, 2, range(len(texts))[::-1], 0)
        assert backwards[::-1] == encoded
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "CACHE_SIZE", 3)
            assert sampling.sampler(made, rate).encode_all(texts, 1, 2, range(len(texts)), 0) == encoded
        copy = pickle.loads(pickle.dumps(warm))
        assert copy.encode_all(texts, 1, 2, range(len(texts)), 0) == encoded


def test_samples_depend_on_seed_epoch_example_and_side(bpe):
    sampler = sampling.sampler(bpe, 0.5)
    text = " ".join(TEXTS)
    keys = [(1, 2, 3, 0), (2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1), (2, 1, 3, 0), (-1, 2, 3, 0)]
    assert len({tuple(sampler.encode(text, *key)) for key in keys}) == len(keys)
    repeated = sampler.encode_all(["lowest"] * 4, 1, 2, [7, 7, 8, 9], 0)
    assert repeated[0] == repeated[1] == sampler.encode("lowest", 1, 2, 7, 0)


def test_nothing_to_encode(bpe):
    sampler = sampling.sampler(bpe, 0.5)
    assert sampler.encode_all([], 1, 2, [], 0) == []
    assert sampler.encode_all(["", "low", " "], 1, 2, [0, 1, 2], 0)[::2] == [[], []]
    with pytest.raises(ValueError, match="broadcast"):
        sampler.encode_all(["low", "new"], 1, 2, [0], 0)


PROGRAM = """
import hashlib, sys
from pathlib import Path
from transformer.data.tokenizers import sampling
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
for file, rate in ((sys.argv[1], 0.1), (sys.argv[2], 0.2)):
    sampler = sampling.sampler(SentencePieceTokenizer(Path(file).read_bytes()), rate)
    print(sampler.encode_all(sys.argv[3:], 1, 2, range(len(sys.argv) - 3), 0))
"""


def test_two_fresh_processes_give_equal_samples(bpe, unigram, tmp_path):
    for made, name in ((bpe, "bpe"), (unigram, "unigram")):
        (tmp_path / name).write_bytes(made.content)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "bpe"), str(tmp_path / "unigram"), *TEXTS]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    here = [
        sampling.sampler(made, rate).encode_all(TEXTS, 1, 2, range(len(TEXTS)), 0)
        for made, rate in ((bpe, 0.1), (unigram, 0.2))
    ]
    assert runs[0] == runs[1] == "".join(f"{ids}\n" for ids in here)


def test_splitmix64_is_the_published_one():
    state, drawn = 1234567, []
    for _ in range(3):  # the reference implementation's first outputs under this seed
        drawn.append(sampling.splitmix64(state))
        state += sampling.GOLDEN
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    words = [0, 1, 2**63, 2**64 - 1]
    assert sampling.splitmix64(np.array(words, np.uint64)).tolist() == [sampling.splitmix64(word) for word in words]


def test_random_bits_are_uniform_and_distinct():
    bits = sampling.random_bits(1, 2, 0, range(2000), [10] * 2000)
    assert len(set(bits)) == len(bits)
    ones = Counter(place for number in bits for place in range(63) if number >> place & 1)
    assert max(bits) < 2**63
    assert all(abs(ones[place] - 10_000) < 5 * 71 for place in range(63))  # sigma 70.7


def test_coins_stay_fair_past_the_first_bits():
    heads = Counter()
    for draw in sampling.random_bits(1, 2, 0, range(400), [1] * 400):
        coins = sampling.Coins(draw)
        tosses = [coins.flip(2**64 // 4) for _ in range(300)]  # 240 bits' worth
        assert coins.interval() is None
        heads.update(itertools.pairwise(tosses[100:]))
    tosses = 400 * 199
    for pair, chance in ((True, True), 1 / 16), ((True, False), 3 / 16), ((False, False), 9 / 16):
        assert binomtest(heads[pair], tosses, chance).pvalue > 1e-3


def test_coins_return_the_numbers_that_give_equal_flips():
    draw = random.Random(1).randrange(2**63)

    def toss(draw: int) -> tuple[list[bool], tuple[int, int] | None]:
        coins = sampling.Coins(draw)
        return [coins.flip(chance) for chance in (2**62, 2**63, 2**60)], coins.interval()

    tosses, interval = toss(draw)
    start, end = interval
    assert start <= draw < end
    for other in (start, (start + end) // 2, end - 1):
        assert toss(other) == (tosses, interval)
    for other in (start - 1, end):
        assert toss(other % 2**63)[0] != tosses


@pytest.mark.parametrize("kind", ["char", "word"])
def test_kinds_with_one_segmentation_are_refused(kind):
    message = rf"--tokenizer\.sampling=0\.1: --tokenizer\.kind={kind} has one segmentation"
    with pytest.raises(UsageError, match=message):
        sampling.sampler(trained(kind), 0.1)
    with pytest.raises(UsageError, match=message):
        config.Tokenizer(kind=kind, sampling=0.1).check()
    config.Tokenizer(kind=kind).check()


@pytest.mark.parametrize("rate", [-0.1, 1.5, math.nan, math.inf])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_rates_out_of_range_are_refused(kind, rate, request):
    with pytest.raises(UsageError, match=r"--tokenizer\.sampling=.* must be from 0 to 1"):
        sampling.sampler(request.getfixturevalue(kind), rate)
    with pytest.raises(UsageError, match=r"--tokenizer\.sampling must be from 0 to 1, not"):
        check.everything(config.Config(tokenizer=config.Tokenizer(kind=kind, sampling=rate)))
    check.everything(config.Config(tokenizer=config.Tokenizer(kind=kind, sampling=0.1)))


def test_unigram_without_alpha_is_refused(unigram):
    with pytest.raises(UsageError, match=r"--tokenizer\.sampling=0 samples nothing"):
        sampling.sampler(unigram, 0.0)
