import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.data.corpora import text
from transformer.data.corpora.text import Text, TextWriter, digest
from transformer.errors import TransformerError

sentences = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=30)


def written(path, lines):
    with TextWriter(path) as writer:
        for line in lines:
            writer.append(line)
    return Text(path)


@given(sentences, st.integers(-40, 40), st.integers(-40, 40))
def test_a_text_equals_the_list_that_was_written(tmp_path_factory, lines, start, stop):
    kept = written(tmp_path_factory.mktemp("text") / "source", lines)
    assert len(kept) == len(lines)
    assert list(kept) == lines
    assert kept == lines
    assert kept[start:stop] == lines[start:stop]
    assert kept[start:stop:3] == lines[start:stop:3]
    assert kept.digest == digest(lines) == digest(kept)
    if -len(lines) <= start < len(lines):
        assert kept[start] == lines[start]
    else:
        with pytest.raises(IndexError, match=f"sentence {start} of {len(lines)}"):
            kept[start]


def test_chunks_do_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "CHUNK", 4)
    lines = [f"línea {n}" * (n % 3) for n in range(11)]
    small = written(tmp_path / "a", lines)
    assert list(small) == lines
    assert small != lines[:-1]
    assert small != [*lines[:-1], "other"]


def test_the_digest_depends_on_sentence_boundaries(tmp_path):
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])
    assert digest([]) == written(tmp_path / "a", []).digest


def test_a_text_is_pickled_as_its_path(tmp_path):
    kept = written(tmp_path / "a", ["ein langer Satz"] * 1000)
    travelling = pickle.dumps(kept)
    assert len(travelling) < 500
    assert pickle.loads(travelling) == kept


@pytest.mark.parametrize("ending", [".text", ".offsets", ".digest"])
def test_damage_is_detected(tmp_path, ending):
    written(tmp_path / "a", ["eins", "zwei"])
    path = (tmp_path / "a").with_suffix(ending)
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(OSError, match="a"):
        Text(tmp_path / "a")
    if ending != ".digest":
        path.write_bytes(whole[:-1])
        with pytest.raises(ValueError, match=r"wrong size|multiple|match"):
            Text(tmp_path / "a")


def test_an_error_leaves_an_incomplete_text(tmp_path):
    def interrupted():
        with TextWriter(tmp_path / "a") as writer:
            writer.append("eins")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(OSError, match="digest"):
        Text(tmp_path / "a")


def test_bytes_that_are_damaged_in_use_are_an_error(tmp_path):
    kept = written(tmp_path / "a", ["eins", "zwei"])
    with (tmp_path / "a.text").open("r+b") as file:
        file.seek(5)
        file.write(b"\xff")
    assert kept[0] == "eins"
    with pytest.raises(TransformerError, match=r"a\.text was damaged while it was in use: the same command rebuilds"):
        list(kept)
