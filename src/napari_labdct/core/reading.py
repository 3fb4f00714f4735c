"""Files of a user's, before anything is done with them: plain files, no larger than can be.

What a file *declares* (a shape, a size, a number of things) is compared with what it holds and
with the memory there is before any of it is taken: a few bytes can declare terabytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import LabDCTError, ScanError, quoted, reason
from .schema import MOST_BYTES, Mismatch, parse_json

#: What is always taken, however small the file is: it costs nothing.
SMALL_BYTES = 16 << 20
#: No real image, volume or table packs better; zeros pack a thousand times.
MOST_PACKED = 400
#: Part of the free memory that one file may take.
_PART = 0.7

#: What libraries and numpy make of a file whose parts are of another kind than they should be.
FAULTS = (
    ArithmeticError, AttributeError, AssertionError, BufferError, EOFError, LookupError,
    RuntimeError, SyntaxError, TypeError, ValueError, OSError,
)  # fmt: skip


def check_regular(path: Path, error: type[LabDCTError] = ScanError) -> None:
    """Refuse a named pipe or a device, which may never end; a missing file passes.

    Raises
    ------
    ScanError
        Or another `error`.
    """
    try:
        odd = path.exists() and not path.is_file() and not path.is_dir()
    except OSError as fault:  # such as a name of a thousand letters
        raise error(f"{quoted(str(path))} cannot be opened ({reason(fault)}).") from fault
    if odd:
        raise error(f"{path} is a pipe or a device, not a file; choose a file.")


def read_bytes(path: Path, most: int, error: type[LabDCTError] = ScanError) -> bytes:
    """The content of a file.

    Raises
    ------
    ScanError
        It is not a regular file, or larger than `most` bytes; or another `error`.
    OSError
        It cannot be read.
    """
    check_regular(path, error)
    if path.stat().st_size > most:
        raise error(f"{path} is larger than {most >> 20} MB; choose the right file.")
    return path.read_bytes()


def load_json(path: Path, most: int = MOST_BYTES) -> Any:
    """The values of a JSON file.

    Raises
    ------
    Mismatch
        It is no file, too large, nested too deep, or not JSON.
    OSError
        It cannot be read.
    """
    return parse_json(read_bytes(path, most, _Refused), most)


class _Refused(Mismatch, LabDCTError):
    """As `Mismatch`, where an error of ours is asked for."""


def explained(error: BaseException, refuse: Callable[[str], LabDCTError]) -> LabDCTError:
    """What to raise for a fault inside a file: our own sentence as it is, others in short."""
    return error if isinstance(error, LabDCTError) else refuse(reason(error))


# ------------------------------------------------------------------------- sizes


def check_declared(what: str, needs: float, holds: int | None = None, working: float = 1) -> None:
    """Refuse what a file declares if it cannot hold it, or if there is no memory for it.

    Parameters
    ----------
    what : str
        For the sentence: such as "the volume GrainId".
    needs : float
        Bytes when read.
    holds : int, optional
        Bytes that the file has for it; not compared if it is not packed or not known.
    working : float
        Copies that are needed to work with it.

    Raises
    ------
    Mismatch
    """
    if needs <= SMALL_BYTES:
        return
    if holds is not None and needs > MOST_PACKED * holds:
        raise Mismatch(f"{what} is said to have {_size(needs)}, but the file holds {_size(holds)}")
    free = free_memory()
    if needs * working > _PART * free:
        raise Mismatch(
            f"{what} has {_size(needs)}, too much for the memory that is free, {_size(free)}"
        )


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def free_memory() -> int:
    """Bytes that this process can still take."""
    free = [1 << 62]
    free.append(_from_proc("/proc/meminfo", "MemAvailable:", 1 << 62))
    if free[-1] == 1 << 62:
        free.append(_physical() // 2)
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit - _from_proc("/proc/self/status", "VmSize:", 0))
    except (ImportError, OSError, ValueError):  # not on Windows
        pass
    try:
        most, used = (int((_CONTAINER / f"memory.{n}").read_text()) for n in ("max", "current"))
        kept = _from_proc(str(_CONTAINER / "memory.stat"), "inactive_file ", 0) // 1024
        free.append(most - used + kept)  # what is kept of files goes when it is needed
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return max(min(free), 0)


_CONTAINER = Path("/sys/fs/cgroup")


def _from_proc(path: str, name: str, otherwise: int) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return otherwise


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8 << 30
