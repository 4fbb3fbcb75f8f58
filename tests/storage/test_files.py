import json

import pytest

from transformer.storage.files import DamagedFileError, complete, read_object, read_objects, write_json, write_text


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, {"word": "größer", "count": 1})
    write_json(path, {"word": "kleiner"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"word": "kleiner"}
    assert [file.name for file in tmp_path.iterdir()] == ["values.json"]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "text"
    write_text(path, "old\n")
    (tmp_path / "text.new").mkdir()
    with pytest.raises(OSError, match=r"text\.new"):
        write_text(path, "new\n")
    assert path.read_text() == "old\n"


def test_links_and_modes_are_kept(tmp_path):
    path, link = tmp_path / "text", tmp_path / "link"
    write_text(path, "old\n")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(link, "a\nb\n", newline="\r\n")
    assert link.is_symlink()
    assert path.read_bytes() == b"a\r\nb\r\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_file_names_that_are_not_utf_8_are_kept(tmp_path):
    values = {"input": "gr\udcfcn", "word": "größer"}
    write_json(tmp_path / "a.json", values)
    assert json.loads((tmp_path / "a.json").read_bytes()) == values
    write_json(tmp_path / "a.json", {"word": "größer"})
    assert "größer" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b": }', "line 2: Expecting value"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"5", "it holds 5, not an object"),
        (b'[{"a": 1}]', "it holds .*, not an object"),
        (b'{"a":\n"\xff"}', "line 2 is not UTF-8"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"config\.json is damaged: .*{message}"):
        read_object(path)


def test_a_missing_file_is_not_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "config.json")


def test_damaged_lines_are_marked_and_an_unterminated_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n5\n\n\xff\xfe\n{"a": 2}\n{"a": 3')
    assert read_objects(path) == {1: {"a": 1}, 2: None, 3: None, 4: None, 5: {"a": 2}}


def test_a_folder_appears_complete_or_not_at_all_and_its_neighbours_stay(tmp_path):
    """Also those that have the names of unfinished folders of other programs."""
    for name in ("out.new", "out.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("kept")

    def stop():
        with complete(tmp_path / "out") as unfinished:
            (unfinished / "half").write_text("x")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.new", "out.part"]
    with complete(tmp_path / "out") as unfinished:
        (unfinished / "whole").write_text("x")
        assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.new", "out.part"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]
    assert all((tmp_path / name / "precious").read_text() == "kept" for name in ("out.new", "out.part"))
