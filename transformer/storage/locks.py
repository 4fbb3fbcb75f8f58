"""Locks among processes, gone with the one that holds them."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Gives whether the lock is ours now. Where storage has no locks, it is, with a warning.

    Args:
        path: a file, which is made if it is not there; or a folder.
        wait: until no other process holds it.
    """
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:  # such as network storage without locks
            log.warning("%s cannot be locked (%s): see to it that no other job works there", path, error.strerror)
        yield True
    finally:
        os.close(handle)
