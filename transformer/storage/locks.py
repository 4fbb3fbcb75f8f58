"""Locks between processes, released when the process that holds them ends."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def file_lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a file or folder for the duration of the `with` block; yields whether the lock was acquired.

    Storage without locks counts as acquired, with a warning.

    Args:
        path: a file, created if it does not exist; or an existing folder.
        wait: block until no other process holds the lock.
    """
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:  # e.g. network storage without locks
            log.warning("%s cannot be locked (%s): make sure that no other job works there", path, error.strerror)
        yield True
    finally:
        os.close(handle)
