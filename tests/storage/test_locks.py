import errno
import fcntl

import pytest

from transformer.storage.locks import file_lock


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_is_acquired_once(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    with file_lock(path) as acquired:
        assert acquired
        with file_lock(path) as again:
            assert not again
    with file_lock(path, wait=True) as acquired:
        assert acquired


def test_storage_without_locks_counts_as_acquired(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with file_lock(tmp_path / "lock") as acquired:
        assert acquired
    assert "cannot be locked (No locks available)" in caplog.text
