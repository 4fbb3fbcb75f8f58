import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from transformer import check
from transformer.config import Batching, Config, Data, Filter
from transformer.config import Tokenizer as TokenizerConfig
from transformer.data import shards
from transformer.data.batching.buckets import Bucket
from transformer.data.corpora import load
from transformer.data.examples import Examples, Links
from transformer.data.tokenizers import cached
from transformer.data.tokenizers.files import load_tokenizers, save_tokenizers
from transformer.distributed.sharding import make_mesh
from transformer.errors import TransformerError, UsageError
from transformer.models.build import builder, split
from transformer.tasks.translation import prepare


def with_data(settings: Config, **changes: object) -> Config:
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **changes))  # type: ignore[arg-type]


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("this was done before")


def test_text_tokenizers_and_examples_are_found_again(settings, monkeypatch):
    first = prepare.prepare(settings, None)
    for module, name in ((load, "_make"), (cached, "train_tokenizers"), (shards, "tokenise")):
        monkeypatch.setattr(module, name, refuse)
    again = prepare.prepare(settings, None)
    assert again.identity == first.identity
    assert again.corpora.train == first.corpora.train


def overwrite(path: Path) -> None:
    """Bytes that are no UTF-8, and token ids beyond any vocabulary; the size stays the same."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * len(content[len(content) // 2 :]))


@pytest.mark.parametrize("damage", [Path.unlink, overwrite])
@pytest.mark.parametrize(
    ("kind", "file"),
    [
        *(("corpus", file) for file in ("source.text", "target.offsets", "links.digest", "corpus.json")),
        *(("examples", file) for file in ("source.tokens", "target.lengths", "sentences", "examples.json")),
        ("tokenizers", "joint.vocabulary"),
    ],
)
def test_damage_in_the_cache_is_announced_and_rebuilt(settings, kind, file, damage, caplog):
    first = prepare.prepare(settings, None)
    text = list(first.corpora.train.sources)
    folders = (path for path in (Path(settings.data.cache) / kind).iterdir() if path.is_dir())
    folder = max(folders, key=lambda path: (path / file).stat().st_size)  # of training, not of validation
    wanted = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder / file)
    caplog.clear()
    again = prepare.prepare(settings, None)
    assert f"{folder} is rebuilt: {file} is " in caplog.text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
    assert again.identity == first.identity
    assert list(again.corpora.train.sources) == text
    caplog.clear()
    prepare.prepare(settings, None)
    assert "is rebuilt" not in caplog.text


def test_changed_text_has_a_different_identity(settings, corpora, tmp_path):
    for side in ("xx", "yy"):
        (tmp_path / f"train.{side}").write_bytes((corpora / f"train.{side}").read_bytes())
    settings = with_data(settings, train=str(tmp_path / "train"))
    first = prepare.prepare(settings, None)
    lines = (tmp_path / "train.xx").read_text().splitlines()
    lines[7] = "ba ba ba"
    (tmp_path / "train.xx").write_text("\n".join(lines) + "\n")
    again = prepare.prepare(settings, None)
    assert again.corpora.train.sources[7] == "ba ba ba"
    assert again.identity["train"] != first.identity["train"]


def test_different_links_or_corpus_borders_are_different_data(settings, corpora, tmp_path):
    links = tmp_path / "links"
    links.write_text("0-0\n" * 300)
    found = [prepare.prepare(with_data(settings, alignments=str(links)), None).identity]
    links.write_text("0-0\n" * 299 + "0-1\n")
    found.append(prepare.prepare(with_data(settings, alignments=str(links)), None).identity)
    for cut in (100, 200):
        for side in ("xx", "yy"):
            lines = (corpora / f"train.{side}").read_text().splitlines(keepends=True)
            (tmp_path / f"a{cut}.{side}").write_text("".join(lines[:cut]))
            (tmp_path / f"b{cut}.{side}").write_text("".join(lines[cut:]))
        parts = with_data(settings, train=str(tmp_path / f"a{cut}"), also=(str(tmp_path / f"b{cut}"),))
        found.append(prepare.prepare(parts, None).identity)
    assert len({one["train"] for one in found}) == 4
    assert len({one["tokenizer"] for one in found}) == 1


@pytest.fixture
def other(tmp_path):
    """Forty pairs more, of other words."""
    for side in ("xx", "yy"):
        lines = [" ".join([f"{side}{n}"] * (1 + n % 4)) for n in range(40)]
        (tmp_path / f"other.{side}").write_text("".join(line + "\n" for line in lines))
    return str(tmp_path / "other")


def test_corpora_are_mixed_by_their_shares(settings, other):
    settings = with_data(settings, also=(other,), weights=(1.0, 1.0))
    check.everything(settings)
    prepared = prepare.prepare(settings, None)
    assert prepared.corpora.parts == (300, 40)
    taken = []
    for plan in (prepared.plan, prepared.epochs.epoch(1)[1]):
        ids = np.concatenate([plan.batch(position)[1] for position in range(len(plan))])
        assert (ids >= 300).sum() == (ids < 300).sum() == 170
        taken += ids.tolist()
    assert set(taken) == set(range(340))
    assert "mixture" in prepared.identity, "the order is another one than that of version 0.1"


def test_the_limit_applies_to_each_corpus(settings, other, caplog):
    caplog.set_level(logging.INFO)
    prepared = prepare.prepare(with_data(settings, also=(other,), limit=25), None)
    assert prepared.corpora.parts == (25, 25)
    assert "read to --data.limit=25" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (1.0,)}, "1 shares for 2 corpora"),
        ({"weights": (1.0, -1.0)}, "shares are 0 or more"),
        ({"weights": (0.0, 0.0)}, "not all 0"),
        ({"weights": (1.0, 2.0), "temperature": 2.0}, "use one"),
        ({"temperature": 0.0}, "--data.temperature must be at least 0.1"),
    ],
)
def test_impossible_mixtures(settings, changes, message):
    with pytest.raises(UsageError, match=message):
        check.everything(with_data(settings, also=("other",), **changes))


def test_filters_are_counted(settings, tmp_path, caplog):
    pairs = [("a b", "x y"), ("", "x"), ("a a a a a a", "x"), ("a b", "x y"), ("same here", "Same here"), ("c", "z")]
    for side, language in enumerate(("xx", "yy")):
        (tmp_path / f"all.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    rules = Filter(max_ratio=3.0, drop_copies=True, drop_duplicates=True)
    prepared = prepare.prepare(with_data(settings, train=str(tmp_path / "all"), filter=rules), None)
    assert list(prepared.corpora.train.sources) == ["a b", "c"]
    assert list(prepared.corpora.skipped.values()) == [1, 1, 1, 1]
    for reason in prepared.corpora.skipped:
        assert f"left out of training: 1 pair: {reason}" in caplog.text


def test_a_normal_form_is_also_that_of_what_is_translated(settings, tmp_path):
    settings = with_data(settings, filter=Filter(normalize="nfkc"))
    for tokens in (TokenizerConfig(kind="word"), TokenizerConfig(kind="bpe", vocabulary=70)):
        prepared = prepare.prepare(dataclasses.replace(settings, tokenizer=tokens), None)
        folder = tmp_path / tokens.kind
        save_tokenizers(prepared.tokenizers, folder)
        source = load_tokenizers(folder).source
        wide = "ｂａ ｂｅ"  # letters of full width
        assert source.encode(wide) == source.encode("ba be") == source.encode_all([wide])[0]
        plain = prepare.prepare(dataclasses.replace(with_data(settings, filter=Filter()), tokenizer=tokens), None)
        assert plain.tokenizers.source.encode(wide) != plain.tokenizers.source.encode("ba be")
        assert plain.identity["tokenizer"] != prepared.identity["tokenizer"]


def test_rows_of_the_recurrent_papers(settings):
    settings = dataclasses.replace(settings, batching=dataclasses.replace(settings.batching, rows=16, shapes=3))
    check.everything(settings)
    plan = prepare.prepare(settings, None).plan
    assert {bucket.rows for bucket in plan.buckets} == {16}
    sizes = [len(plan.batch(index)[1]) for index in range(len(plan))]
    assert sum(size < 16 for size in sizes) <= len(plan.buckets)
    with pytest.raises(UsageError, match=r"--batching\.rows=12 must be a multiple of 8"):
        check.everything(dataclasses.replace(settings, batching=dataclasses.replace(settings.batching, rows=12)))


def test_drawing_needs_pieces_and_no_links(settings):
    drawn = dataclasses.replace(settings, tokenizer=TokenizerConfig(kind="word", sampling=0.1))
    with pytest.raises(UsageError, match=r"--tokenizer\.sampling"):
        check.everything(drawn)
    guided = dataclasses.replace(settings.task.guided, weight=0.5)
    settings = dataclasses.replace(
        settings,
        data=Data(),
        tokenizer=TokenizerConfig(kind="bpe", sampling=0.1),
        task=dataclasses.replace(settings.task, guided=guided),
    )
    with pytest.raises(UsageError, match=r"--task\.guided\.weight"):
        check.everything(settings)


def test_text_that_training_and_held_out_sets_share_is_reported(settings, corpora, caplog):
    caplog.set_level(logging.INFO)
    lines = {side: (corpora / f"train.{side}").read_text() for side in ("xx", "yy")}
    pairs = list(zip(*(text.splitlines() for text in lines.values()), strict=True))
    held = list(zip(*((corpora / f"validation.{side}").read_text().splitlines() for side in lines), strict=True))
    same = with_data(settings, validation=str(corpora / "train"), test="", filter=Filter(drop_duplicates=True))
    prepared = prepare.prepare(same, None)
    distinct = len(set(pairs))
    assert prepared.corpora.shared == {"validation": distinct}
    assert (
        f"training pairs that are also in the validation set, whose scores are too good: {distinct} (they stay in "
        "training; --data.filter.drop-held-out=True leaves them out)" in caplog.text
    )
    caplog.clear()
    shared = sum(pair in set(held) for pair in pairs)
    without = with_data(settings, test="", filter=Filter(drop_held_out=True))
    assert len(prepare.prepare(without, None).corpora.train.sources) == 300 - shared
    assert "too good" not in caplog.text


def test_reserved_characters_and_other_normal_forms_are_reported(settings, tmp_path, caplog):
    for side, text in (("xx", "ba▁be\nba\nbe\n"), ("yy", "BE▅ BA\nBA\nBE\n")):
        (tmp_path / f"train.{side}").write_text(text)
        (tmp_path / f"held.{side}").write_text("u\u0308\nba\n")
    given = {name: str(tmp_path / "held") for name in ("validation", "test")}
    prepared = prepare.prepare(with_data(settings, train=str(tmp_path / "train"), filter=Filter("nfc"), **given), None)
    assert list(prepared.corpora.train.sources) == ["ba_be", "ba", "be"]
    assert "training pairs with characters that tokenizers reserve, replaced (U+2581 by U+005F" in caplog.text
    for name in ("validation", "test"):
        message = f"references of the {name} set in another form than --data.filter.normalize=nfc"
        assert f"{message}, which translations have: 1 (they are compared as they are)" in caplog.text


def test_links_number_the_words_that_spaces_separate(settings, tmp_path):
    """U+2581 is no space: the second word of "a▁b c" is c. Before, it was b."""
    for side, lines in (("xx", ["a▁b c"] * 40), ("yy", ["x y"] * 40)):
        (tmp_path / f"train.{side}").write_text("".join(line + "\n" for line in lines))
    (tmp_path / "links").write_text("0-0 1-1\n" * 40)
    guided = dataclasses.replace(settings.task, guided=dataclasses.replace(settings.task.guided, weight=0.5))
    tokens = TokenizerConfig(kind="char", vocabulary=40, joint=False)
    settings = dataclasses.replace(
        with_data(settings, train=str(tmp_path / "train"), alignments=str(tmp_path / "links")),
        task=guided,
        tokenizer=tokens,
    )
    train, (source, target) = prepare.prepare(settings, None).examples, prepare.prepare(settings, None).tokenizers
    assert source.pieces(train["source"][0]) == ["▁", "a", "_", "b", "▁", "c", "</s>"]
    assert target.pieces(train["target"][0]) == ["▁", "x", "▁", "y", "</s>"]
    assert train.links.pairs[: train.links.offsets[1]].tolist() == [
        *([s, t] for s in range(4) for t in (0, 1)),
        *([s, t] for s in (4, 5) for t in (2, 3)),
    ]


@pytest.mark.parametrize(("unusable", "refused"), [(1, False), (2, False), (3, True)])
def test_links_that_guide_nothing_are_counted_and_most_of_them_refused(unusable, refused, caplog):
    """Two examples have links, one has none in the file, and the given number have unusable ones."""
    caplog.set_level(logging.INFO)
    offsets = np.cumsum([0, 1, 3, 0] + [0] * unusable)
    links = Links(np.zeros((4, 2), np.uint16), offsets, unusable)
    examples = Examples({}, links=links)
    if refused:
        with pytest.raises(TransformerError, match=r"f: .* in 3 of 5 training pairs, .*--data\.first-word 1"):
            prepare._report_links(examples, "f")
    else:
        prepare._report_links(examples, "f")
        message = "pairs that guide nothing, because their alignment names words that do not exist"
        assert f"{message}: {unusable}" in caplog.text
        assert "pairs without links, which guide nothing: 1" in caplog.text
    with pytest.raises(TransformerError, match="f: no training pair has links, so nothing would be guided"):
        prepare._report_links(Examples({}, links=Links(np.zeros((0, 2), np.uint16), np.zeros(4, np.int64), 0)), "f")


def test_packed_rows_report_real_tokens_and_count_every_pair(settings):
    """Operations of a packed batch are those of its pairs, each in a separate row."""
    packed = dataclasses.replace(settings, batching=Batching(tokens=256, pack=16))
    prepared, plain = prepare.prepare(packed, None), prepare.prepare(settings, None)
    report = prepared.plan.report(prepared.examples.lengths)
    assert report["shapes"] == 1
    assert report["examples"] == len(prepared.examples) == 300
    assert 1 - report["efficiency"] < (1 - plain.plan.report(plain.examples.lengths)["efficiency"]) / 2
    number, ids = prepared.plan.batch(0)
    bucket, flat = prepared.plan.buckets[number], ids[ids >= 0]
    batch = prepared.batch(prepared.examples, bucket, ids, epoch=0)
    alone = plain.batch(plain.examples, Bucket(len(flat), (16, 16)), flat, epoch=0)
    assert prepared.operations(batch) == plain.operations(alone)
    counts, counts_alone = prepared.counts(batch), plain.counts(alone)
    assert {name: int(count) for name, count in counts.items()} == counts_alone
    assert counts["sentences"] == len(flat) > bucket.rows


def test_lengths_of_validation_are_rounded_only_as_far_as_the_model_reads(settings):
    """Its pairs of 8 tokens would be rounded to 12, and the model reads 10."""
    settings = dataclasses.replace(
        with_data(settings, max_length=6),
        batching=Batching(tokens=64, shapes=2, length_multiple=6),
        model=dataclasses.replace(settings.model, max_length=10, encoder_layers=1, decoder_layers=1),
    )
    check.everything(settings)
    prepared = prepare.prepare(settings, None)
    assert {length for bucket in prepared.plan.buckets for length in bucket.lengths} == {6}
    assert max(side.max() for side in prepared.validation_examples.lengths.values()) == 8
    graph, parameters = split(prepared.build_model())
    mesh = make_mesh(settings.mesh)
    assert np.isfinite(prepared.validation(builder(graph), mesh)(parameters)["loss"])
