"""Folders of the cache: those that processes share, made once by whoever comes first, and those of one process."""

import shutil
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from transformer.errors import TransformerError
from transformer.storage.locks import file_lock

T = TypeVar("T")


def entry(
    folder: Path, read: Callable[[Path], T | None], make: Callable[[Path], None], cache: str, *, resumes: bool
) -> T:
    """What a folder holds, which appears whole or not at all.

    Args:
        folder: in the cache; its name stands for all that its content was made from.
        read: gives the content, or None where the folder is missing or damaged; then it is made anew.
        make: fills a folder, given another name until it is full. Of the processes that want it one does, and the
            others wait for it.
        cache: the cache, for messages.
        resumes: `make` goes on with what an interrupted one left; otherwise that is removed.

    Raises TransformerError where the cache cannot be written.
    """
    if (found := read(folder)) is not None:
        return found
    unfinished = folder.with_name(f".{folder.name}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The lock stays: removed, it could be another's that was just made.
        with file_lock(folder.with_name(f"{folder.name}.lock"), wait=True):
            if (found := read(folder)) is None:
                if not resumes:
                    shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(exist_ok=True)
                make(unfinished)
                shutil.rmtree(folder, ignore_errors=True)
                unfinished.rename(folder)
                found = read(folder)
    except OSError as error:
        raise TransformerError(
            f"--data.cache={cache} cannot be written ({error.strerror or error}): name another folder"
        ) from error
    if found is None:
        raise TransformerError(f"{folder}: damaged as soon as it was written; name another --data.cache")
    return found


class Scratch:
    """A folder of this process alone, removed when it is closed; if the process is killed, by the next one."""

    def __init__(self, parent: Path) -> None:
        """Raises OSError where there can be none in `parent`."""
        parent.mkdir(parents=True, exist_ok=True)
        with file_lock(parent / "lock", wait=True):
            for other in parent.iterdir():
                if other.is_dir():
                    with file_lock(other) as abandoned:
                        if abandoned:
                            shutil.rmtree(other, ignore_errors=True)
            self.path = parent / uuid.uuid4().hex
            self.path.mkdir()
            self._held = ExitStack()
            self._held.enter_context(file_lock(self.path))

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._held.close()
