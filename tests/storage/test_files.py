import json

import pytest

from transformer.storage.files import write_json, write_text


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


def test_names_of_files_that_are_no_utf_8_are_kept(tmp_path):
    values = {"input": "gr\udcfcn", "word": "größer"}
    write_json(tmp_path / "a.json", values)
    assert json.loads((tmp_path / "a.json").read_bytes()) == values
    write_json(tmp_path / "a.json", {"word": "größer"})
    assert "größer" in (tmp_path / "a.json").read_text(encoding="utf-8")
