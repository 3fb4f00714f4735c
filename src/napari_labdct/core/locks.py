"""Two processes never write one output: the second one says so.

While an output is written a file ``NAME.lock`` stands beside it and is locked.  The system takes
the lock away when the process ends, however it ends, so a kill leaves nothing locked; the file
that it leaves is taken over by the next run.  Within one process an output can be held many times.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import OutputError

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_PAUSE_S = 0.01


@dataclass
class _Held:
    process: int  # a fork inherits this table, but not the lock
    file: int | None
    times: int = 1


_held: dict[str, _Held] = {}
_guard = threading.Lock()


@contextlib.contextmanager
def alone(path: str | Path, said: str | Path = "", patience_s: float = 0.0) -> Iterator[None]:
    """Hold an output while the block writes it; see `hold`."""
    hold(path, said, patience_s)
    try:
        yield
    finally:
        release(path)


def hold(path: str | Path, said: str | Path = "", patience_s: float = 0.0) -> None:
    """Keep other processes from writing an output until `release`.

    A folder that takes no lock file takes no output either, which is said by whoever writes it;
    file systems without locks go without.

    Parameters
    ----------
    path : path
        Of the output, in a folder that is there.
    said : path, optional
        What a message calls it, such as the folder that `path` stands for.
    patience_s : float
        How long another process may take to end; for what is written in a moment.

    Raises
    ------
    OutputError
        Another process writes it now.
    """
    path = Path(path).expanduser().absolute()
    for _ in range(round(patience_s / _PAUSE_S)):
        if _taken(path):
            return
        time.sleep(_PAUSE_S)
    if not _taken(path):
        raise _busy(said or path)


def _taken(path: Path) -> bool:
    """Lock an output for this process; False if another one holds it."""
    with _guard:
        mine = _held.get(str(path))
        if mine is not None and mine.process == os.getpid():
            mine.times += 1
            return True
        try:
            file = _locked(_beside(path))
        except BlockingIOError:
            return False
        _held[str(path)] = _Held(os.getpid(), file)
        return True


def release(path: str | Path) -> None:
    """Let other processes write an output again, once for each `hold`."""
    path = Path(path).expanduser().absolute()
    with _guard:
        mine = _held.get(str(path))
        if mine is None or mine.process != os.getpid():
            return
        mine.times -= 1
        if mine.times:
            return
        del _held[str(path)]
        if mine.file is not None:
            with contextlib.suppress(OSError):  # on Windows an open file stays
                os.unlink(_beside(path))
            os.close(mine.file)
            if os.name == "nt":
                with contextlib.suppress(OSError):
                    os.unlink(_beside(path))


@contextlib.contextmanager
def writing(part: Path, path: Path) -> Iterator[None]:
    """The block fills `part`, which then takes the place of `path`; nobody else does so meanwhile.

    Raises
    ------
    OutputError
        Another process, or another thread, does.
    """
    if os.name == "nt":  # where an open file cannot be renamed
        yield
        return
    try:
        file = _locked(part, whole=True)
    except BlockingIOError:
        raise _busy(path) from None
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def _busy(path: str | Path) -> OutputError:
    return OutputError(
        f"Another process is writing {path} now; wait for its end, or choose another name."
    )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _locked(path: Path, whole: bool = False) -> int | None:
    """The descriptor of a locked file; None where files cannot be locked.

    Parameters
    ----------
    path : path
    whole : bool
        The lock stays when this process opens and closes the file elsewhere.

    Raises
    ------
    BlockingIOError
        Another process has locked it.
    """
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            _lock(file, whole)
            # The one before may have deleted the file between our opening and our locking it.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except OSError as error:
            os.close(file)
            if error.errno in _BUSY:
                raise BlockingIOError from error
            if isinstance(error, FileNotFoundError):
                continue
            with contextlib.suppress(OSError):
                os.unlink(path)
            return None
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, whole: bool) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int, whole: bool) -> None:
        # flock only where it must be: a worker process inherits it and keeps it when we are killed
        (fcntl.flock if whole else fcntl.lockf)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
