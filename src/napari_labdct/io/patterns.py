"""File name patterns of a ``scan.yaml``, and the files that they stand for."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import ScanError, quoted
from .names import natural_order

#: Names of files and folders that one pattern may look at.
MOST_ENTRIES = 200_000


def matching_files(pattern: str, folder: Path) -> list[Path]:
    """The files a pattern stands for, in natural order.

    A name that is there as it is written is no pattern, whatever signs it holds.

    Parameters
    ----------
    pattern : str
        Relative to `folder` or absolute; with ``*``, ``?``, ``[...]`` and ``**`` as for `glob`.
    folder : path

    Raises
    ------
    ScanError
        It searches more than `MOST_ENTRIES` names.
    """
    try:
        literal = folder / pattern
        if literal.exists():
            return [literal]
        parts = Path(pattern).parts
        start = Path(parts[0]) if Path(pattern).is_absolute() else folder
        rest = parts[1:] if Path(pattern).is_absolute() else parts
        return natural_order(dict.fromkeys(_Search(pattern).below(start, rest)))
    except ValueError:  # a null byte
        return []
    except OSError as error:
        raise ScanError(
            f"frames: {quoted(pattern)} cannot be searched ({error.strerror or error}); correct it."
        ) from error


class _Search:
    """One walk along a pattern, with a count of what it has looked at."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.seen = pattern, 0

    def below(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
        if not parts:
            if folder.exists():
                yield folder
            return
        part, rest = parts[0], parts[1:]
        if not any(sign in part for sign in "*?["):
            yield from self.below(folder / part, rest)
            return
        if part == "**":
            yield from self.below(folder, rest or ("*",))
            for entry in self._entries(folder):
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield from self.below(folder / entry.name, parts)
            return
        for entry in self._entries(folder):
            hidden = entry.name.startswith(".") and not part.startswith(".")
            if hidden or not fnmatch.fnmatch(entry.name, part):
                continue
            if not rest or entry.is_dir():
                yield from self.below(folder / entry.name, rest)

    def _entries(self, folder: Path) -> list[os.DirEntry]:
        try:
            with os.scandir(folder) as listed:
                entries = []
                for entry in listed:
                    self.seen += 1
                    if self.seen > MOST_ENTRIES:
                        raise ScanError(
                            f"frames: {quoted(self.pattern)} searches more than {MOST_ENTRIES} "
                            "files; name the folder of the projections."
                        )
                    entries.append(entry)
        except OSError:  # not a folder, or one that may not be entered
            return []
        return sorted(entries, key=lambda e: e.name)
