import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from transformer import check
from transformer.config import Config, Data, Filter
from transformer.config import Tokenizer as TokenizerConfig
from transformer.data import shards
from transformer.data.corpora import load
from transformer.data.tokenizers.files import load_tokenizers, save_tokenizers
from transformer.errors import UsageError
from transformer.tasks.translation import prepare


def with_data(settings: Config, **changes: object) -> Config:
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **changes))  # type: ignore[arg-type]


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("this was done before")


def test_text_tokenizers_and_examples_are_found_again(settings, monkeypatch):
    first = prepare.prepare(settings, None)
    for module, name in ((load, "_make"), (prepare, "train_tokenizers"), (shards, "tokenise")):
        monkeypatch.setattr(module, name, refuse)
    again = prepare.prepare(settings, None)
    assert again.identity == first.identity
    assert again.corpora.train == first.corpora.train


def folder_of(cache: Path) -> Path:
    (folder,) = (path for path in (cache / "corpus").iterdir() if path.is_dir())
    return folder


@pytest.mark.parametrize("file", ["source.text", "target.offsets", "links.digest", "corpus.json"])
def test_damaged_text_is_made_anew(settings, file):
    cache = Path(settings.data.cache)
    first = prepare.prepare(settings, None)
    wanted = list(first.corpora.train.sources)
    path = folder_of(cache) / file
    path.unlink()
    again = prepare.prepare(settings, None)
    assert list(again.corpora.train.sources) == wanted
    assert path.exists()


def test_changed_text_is_other_text(settings, corpora, tmp_path):
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


def test_other_links_or_another_border_between_corpora_are_other_data(settings, corpora, tmp_path):
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
    plan = prepared.plan
    ids = np.concatenate([plan.batch(index)[1] for index in range(plan.batches_per_epoch)])
    assert 169 <= (ids >= 300).sum() <= 170 + len(plan.buckets)
    every = np.concatenate([plan.batch(index)[1] for index in range(2 * plan.batches_per_epoch)])
    assert set(every.tolist()) == set(range(340))


def test_limit_is_of_each_corpus(settings, other, caplog):
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
        ({"weights": (1.0, 2.0), "temperature": 2.0}, "take one"),
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
    sizes = [len(plan.batch(index)[1]) for index in range(plan.batches_per_epoch)]
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
