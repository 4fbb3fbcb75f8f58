"""Folders of the cache: shared between processes and made once, or private to a process.

A shared folder holds the checksums of its files. Each process that opens the folder verifies all of them: a damaged
folder is rebuilt, and the log says so.
"""

import logging
import shutil
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from transformer.errors import TransformerError
from transformer.storage import checksums
from transformer.storage.locks import file_lock

log = logging.getLogger(__name__)

T = TypeVar("T")

CHECKSUMS = "checksums.json"
"""File of a folder."""


def cached_folder(
    folder: Path, read: Callable[[Path], T | None], make: Callable[[Path], None], cache: str, *, resumes: bool
) -> T:
    """Read a folder of the cache, which is built first if it does not exist. It appears complete or not at all.

    Args:
        folder: in the cache; its name is a hash of everything that its content is made from.
        read: returns the content of an intact folder, or None if it still cannot be read.
        make: fills a folder, which has a temporary name until it is complete. If several processes need the folder,
            one makes it and the others wait.
        cache: the cache, for messages.
        resumes: whether `make` resumes from the files of an interrupted call; otherwise these are removed.

    Raises:
        TransformerError: the cache cannot be written.
    """
    content, damage = _open(folder, read)
    if content is not None:
        return content
    if damage:
        log.warning("%s is rebuilt: %s", folder, damage)
    unfinished = folder.with_name(f".{folder.name}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The lock file is not removed: another process may just have created and locked it.
        with file_lock(folder.with_name(f"{folder.name}.lock"), wait=True):
            content, _ = _open(folder, read)
            if content is None:
                if not resumes:
                    shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(exist_ok=True)
                make(unfinished)
                checksums.write(unfinished, unfinished / CHECKSUMS)
                shutil.rmtree(folder, ignore_errors=True)
                unfinished.rename(folder)
                content = read(folder)
    except OSError as error:
        raise TransformerError(
            f"--data.cache={cache} cannot be written ({error.strerror or error}): name another folder"
        ) from error
    if content is None:
        raise TransformerError(f"{folder}: damaged as soon as it was written; name another --data.cache")
    return content


def _open(folder: Path, read: Callable[[Path], T | None]) -> tuple[T | None, str]:
    """The content of a folder if it exists and is intact, otherwise what is damaged if it exists."""
    if not folder.is_dir():
        return None, ""
    if not (folder / CHECKSUMS).is_file():
        return None, "it has no checksums, as in earlier versions"
    try:
        damage = checksums.find_damage(folder, folder / CHECKSUMS)
    except OSError as error:
        damage = f"{error.filename} cannot be read ({error.strerror or error})"
    if damage:
        return None, damage
    content = read(folder)
    return content, "" if content is not None else "its files are inconsistent"


class TemporaryFolder:
    """A folder of this process, removed by `close`, or by a later process if this one is killed."""

    def __init__(self, parent: Path) -> None:
        """Create a folder in `parent`, and remove those of processes that have ended. Raises OSError."""
        parent.mkdir(parents=True, exist_ok=True)
        with file_lock(parent / "lock", wait=True):
            for other in parent.iterdir():
                if other.is_dir():
                    with file_lock(other) as abandoned:
                        if abandoned:
                            shutil.rmtree(other, ignore_errors=True)
            self.path = parent / uuid.uuid4().hex
            self.path.mkdir()
            self._lock = ExitStack()
            self._lock.enter_context(file_lock(self.path))

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
