"""Files that are whole or not there: the one owner of writing.

A file is written under a temporary name beside its own, brought to the disk, and renamed.  So a
crash, a kill or a full disk leaves the old file or the new one, and never half of either.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .errors import OutputError
from .locks import writing
from .reading import load_json

if TYPE_CHECKING:
    import h5py


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file so that a crash leaves the old one or the new one.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with _renamed(path) as part, open(part, "wb") as file:
        file.write(data)
        sync(file)


@contextlib.contextmanager
def atomic(path: str | Path, *, new_folder: bool = True) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends well.

    If the block fails, the temporary file goes and `path` stays as it was.

    Parameters
    ----------
    path : path
    new_folder : bool
        Make the folder if it is not there.

    Raises
    ------
    OutputError
        The folder cannot be written, another process writes this file, or the block raised an
        `OSError`.
    """
    path = Path(path)
    if new_folder:
        make_folder(path.parent)
    with writing(_part(path), path), _renamed(path) as part:
        yield part
        with open(part, "r+b") as file:
            sync(file)


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    part = _part(path)
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        remove(part)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


@contextlib.contextmanager
def atomic_hdf5(path: str | Path, *, new_folder: bool = True) -> Iterator[h5py.File]:
    """As `atomic`, an HDF5 file to be filled.

    HDF5 cannot close a file on a full disk: it ends the interpreter, or says so in a page of its
    own internals.  So it writes through `_Guarded`, which never fails before it is closed.
    """
    import h5py

    with atomic(path, new_folder=new_folder) as part, _Guarded(part) as guarded:
        try:
            with h5py.File(guarded, "w") as file:
                yield file
        finally:
            guarded.check()  # instead of what HDF5 made of it


class _Guarded(io.FileIO):
    """A file that keeps its first failure to itself until `check`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        done = 0
        try:
            while self._failure is None and done < len(data):
                done += super().write(data[done:])
        except OSError as error:
            self._failure = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self._failure is None:
                return super().truncate(size)
        except OSError as error:
            self._failure = error
        return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """As `atomic`, a folder to be filled; one that is there is replaced when the block ends well.

    Raises
    ------
    OutputError
        The folder cannot be written, or the block raised an `OSError`.
    """
    path = Path(path)
    part, before = (path.with_name(path.name + end) for end in (".tmp", ".before"))
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if path.exists():
            shutil.rmtree(before, ignore_errors=True)
            os.replace(path, before)
        os.replace(part, path)
        shutil.rmtree(before, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if before.exists() and not path.exists():
            os.replace(before, path)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def sync(file: IO[Any]) -> None:
    """Bring what was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def make_folder(path: str | Path) -> Path:
    """A folder for results, made if it is not there.

    Raises
    ------
    OutputError
        It cannot be made, or not be written to.
    """
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def remove(path: Path) -> None:
    """Delete a half-written file if it is there and can be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()


def aside(path: Path) -> Path:
    """A name beside `path` for what was damaged: ``NAME.damaged``, or the next that is free."""
    free, number = path.with_name(f"{path.name}.damaged"), 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.damaged-{number}")
    return free


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The one sentence for a folder that is full, missing or read-only."""
    reason = error.strerror or str(error)
    return OutputError(f"Cannot write {path} ({reason}); choose another folder or free some space.")


def read_json(path: Path) -> dict[str, Any]:
    """What a recipe or sidecar says; empty if it is not there or damaged."""
    try:
        state = load_json(path)
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
