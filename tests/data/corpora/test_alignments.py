"""Alignments that come with the text are compared with it."""

from pathlib import Path

import pytest

from transformer import config
from transformer.data.corpora.alignments import count_from_0, find_misplaced
from transformer.data.corpora.load import load_corpora
from transformer.errors import TransformerError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


def test_misplaced_links_by_hand():
    pairs = [(((0, 1), (1, 0)), (2, 2)), ((), (1, 1)), (((1, 1), (2, 1)), (2, 2)), (((0, 3),), (3, 3))]
    found = find_misplaced(pairs)
    assert (found.aligned, found.outside, found.names_word_0) == (3, [2, 3], True)
    assert found.message.endswith("in 2 of 3 aligned pairs (first: line 3: 2-1 in a pair of 2 and 2 words)")
    with pytest.raises(TransformerError, match=r"f: .*in 2 of 3 .*another text or tokenization\?"):
        found.refuse(Path("f"), "")
    find_misplaced(pairs[:3]).refuse(Path("f"), "")  # half of them are usable
    assert not found.seems_shifted


def test_links_are_converted_to_count_from_0():
    assert count_from_0("1-1 2-3", 1, Path("f"), 4) == "0-0 1-2"
    assert count_from_0("0-0", 0, Path("f"), 4) == "0-0"
    with pytest.raises(TransformerError, match="f, line 4: a link names word 0, so words count from 0, not from 1"):
        count_from_0("1-1 0-2", 1, Path("f"), 4)


def corpus(folder: Path, links: list[str], length: int = 3) -> config.Data:
    """Distinct pairs of three words and these links."""
    for language in ("en", "de"):
        lines = [" ".join(f"{language}{number}{word}" for word in range(length)) for number in range(len(links))]
        (folder / f"all.{language}").write_text("".join(line + "\n" for line in lines))
    (folder / "all.align").write_text("".join(line + "\n" for line in links))
    return config.Data(source="files", train=str(folder / "all"), alignments=str(folder / "all.align"))


def with_first_word(data: config.Data, first: int) -> config.Data:
    return config.Data(source="files", train=data.train, alignments=data.alignments, first_word=first)  # type: ignore[arg-type]


def test_words_that_count_from_1_are_noticed_and_the_flag_says_so(tmp_path):
    data = corpus(tmp_path, ["1-1 2-2 3-3"] * 40)
    with pytest.raises(
        TransformerError,
        match=r"all\.align: links name words beyond their sentence in 40 of 40 aligned pairs \(first: line 1: 3-3 in a "
        r"pair of 3 and 3 words\); no link names word 0, .*give --data\.first-word 1",
    ):
        load_corpora(data)
    loaded = load_corpora(with_first_word(data, 1))
    assert set(loaded.train.alignments) == set(loaded.validation.alignments) == {((0, 0), (1, 1), (2, 2))}


def test_links_that_never_name_word_0_are_asked_about(tmp_path):
    """All within their sentences, so that they would be shifted silently."""
    data = corpus(tmp_path, ["1-1", "2-2", "1-2", ""] * 10)
    with pytest.raises(
        UsageError, match=r"no link of 30 aligned pairs names word 0: .*first-word 1 or, .*first-word 0"
    ):
        load_corpora(data)
    assert load_corpora(with_first_word(data, 0)).train.alignments[0] in {((1, 1),), ((2, 2),), ((1, 2),), ()}
    assert set(load_corpora(with_first_word(data, 1)).train.alignments) == {
        ((0, 0),), ((1, 1),), ((0, 1),), ()
    }  # fmt: skip
    load_corpora(corpus(tmp_path, ["1-1"] * 9))  # so few may lack them by chance


def test_a_few_unusable_links_are_counted(tmp_path, caplog):
    load_corpora(corpus(tmp_path, ["0-0"] * 30 + ["0-0 5-1"] * 2))
    assert "in 2 of 32 aligned pairs (first: line 31: 5-1 in a pair of 3 and 3 words): their links are not used" in (
        caplog.text
    )


def test_the_flag_needs_a_file():
    with pytest.raises(UsageError, match=r"--data\.alignments counts words, which is not given"):
        load_corpora(config.Data(source="files", train="x", first_word=1))


def test_numbers_that_are_not_words_are_not_links(tmp_path):
    for link in ("0-" + "9" * 5_000, "0-\u0661"):
        with pytest.raises(TransformerError, match="line 1: not an alignment"):
            load_corpora(corpus(tmp_path, [link]))
