"""Files are read back equal; damaged ones are refused."""

import dataclasses

import numpy as np
import pytest

from tests.alignment.test_links import by_hand, softmax
from transformer.alignment import formats
from transformer.alignment.links import Rule, align
from transformer.alignment.record import KINDS
from transformer.errors import TransformerError

ABOUT = {"model": "transformer", "rule": Rule(layer=1).describe(), "note": 'naïve "quotes"\n</script>'}


def write(name, path, sentences):
    with formats.WRITERS[name](path, ABOUT) as add:
        for sentence in sentences:
            add(sentence)


def sentences():
    """A Transformer's with everything, and an RNN's with the cross-attention alone."""
    random = np.random.default_rng(0)
    pair = by_hand()
    full = {kind: softmax(5 * random.normal(size=(2, 3, 5, 5))) for kind in KINDS}
    return [dataclasses.replace(pair, **full, line=7), dataclasses.replace(pair, cross=full["cross"][:1, :1])]


@pytest.mark.parametrize("name", ["npz", "json"])
def test_matrices_are_read_back_equal(name, tmp_path):
    path = tmp_path / f"a.{name}"
    write(name, path, sentences())
    about, found = getattr(formats, f"read_{name}")(path)
    assert about == ABOUT | {"version": 1}
    for before, after in zip(sentences(), found, strict=True):
        assert (before.source, before.target, before.line) == (after.source, after.target, after.line)
        for kind in KINDS:
            if getattr(before, kind) is None:
                assert getattr(after, kind) is None
                with pytest.raises(KeyError):
                    after.matrix(kind)
            else:
                assert after.matrix(kind).dtype == np.float32
                np.testing.assert_array_equal(after.matrix(kind), before.matrix(kind))


@pytest.mark.parametrize("name", ["npz", "json"])
def test_an_empty_corpus_is_a_file_too(name, tmp_path):
    path = tmp_path / "none"
    path = path.with_suffix(f".{name}")
    write(name, path, [])
    assert getattr(formats, f"read_{name}")(path).sentences == []


@pytest.mark.parametrize("name", ["npz", "json"])
def test_a_missing_or_invalid_file_is_refused(name, tmp_path):
    path = tmp_path / f"a.{name}"
    read = getattr(formats, f"read_{name}")
    for content in (None, "", "{}"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(TransformerError, match=r"not an? .* file of alignments"):
            read(str(path))
    write(name, path, sentences())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TransformerError, match=r"not an? .* file of alignments"):
        read(path)


def test_pharaoh_by_hand():
    assert formats.pharaoh(align(by_hand(), Rule(layer=0))[1]) == "0-0 2-1 1-2"
    assert formats.pharaoh(frozenset()) == ""


def test_gold_links_are_numbered_from_the_first_word(tmp_path):
    path = tmp_path / "gold"
    path.write_text("1-1 2p3 10-4\n\n")
    first, empty = formats.read_gold(path, 1)
    assert first.sure == {(0, 0), (9, 3)}
    assert first.possible == {(0, 0), (1, 2), (9, 3)}
    assert empty == (frozenset(), frozenset())
    assert formats.read_gold(path, 0)[0].sure == {(1, 1), (10, 4)}
    for wrong, complaint in (
        ("0-1\n", "line 1: '0-1' names word 0"),
        ("1-1\n1:2\n", "line 2: neither"),
        ("1-x", "x"),
        ("1-²", "²"),
    ):
        path.write_text(wrong)
        with pytest.raises(TransformerError, match=complaint):
            formats.read_gold(path, 1)
