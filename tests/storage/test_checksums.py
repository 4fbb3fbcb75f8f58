import hashlib
import json
import zlib

import pytest

from transformer.storage import checksums


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "12"
    (folder / "parameters").mkdir(parents=True)
    (folder / "parameters" / "array").write_bytes(bytes(range(200)))
    (folder / "host").write_text("{}")
    checksums.write(folder, tmp_path / "sums.json")
    return folder


def test_intact_files_have_no_damage(folder, tmp_path):
    assert checksums.find_damage(folder, tmp_path / "sums.json") is None
    assert checksums.find_damage(folder, tmp_path / "none.json") is None, "no checksums were written"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "has 199 bytes, not 200"),
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(bytes([1, *file.read_bytes()[1:]])), "is not what was written"),
    ],
)
def test_damage_is_described(folder, tmp_path, damage, message):
    damage(folder / "parameters" / "array")
    assert checksums.find_damage(folder, tmp_path / "sums.json") == f"parameters/array {message}"
    assert checksums.find_damage(folder, tmp_path / "sums.json", "host") is None


def test_damaged_checksums_are_reported(folder, tmp_path):
    (tmp_path / "sums.json").write_text("{")
    assert "is itself damaged" in checksums.find_damage(folder, tmp_path / "sums.json")


@pytest.mark.parametrize("content", ["[]", "5", '{"host": 3}', '{"host": [1, 2, 3]}', '{"host": ["2"'])
def test_invalid_checksums_are_damaged_too(folder, tmp_path, content):
    (tmp_path / "sums.json").write_text(content)
    assert "sums.json is itself damaged" in checksums.find_damage(folder, tmp_path / "sums.json")


def test_checksums_of_version_0_1_are_compared_too(folder, tmp_path):
    content = bytes(range(200))
    sums = json.loads((tmp_path / "sums.json").read_text())
    assert sums["parameters/array"] == [200, f"{zlib.crc32(content):08x}"]
    sums["parameters/array"][1] = hashlib.blake2b(content, digest_size=20).hexdigest()
    (tmp_path / "sums.json").write_text(json.dumps(sums))
    assert checksums.find_damage(folder, tmp_path / "sums.json") is None
    (folder / "parameters" / "array").write_bytes(content[::-1])
    assert checksums.find_damage(folder, tmp_path / "sums.json") == "parameters/array is not what was written"


def test_checksums_may_lie_among_their_files(folder):
    path = folder / "sums.json"
    for _ in range(2):
        checksums.write(folder, path)
        assert checksums.find_damage(folder, path) is None
