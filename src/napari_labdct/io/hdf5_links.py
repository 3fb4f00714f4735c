"""Links of HDF5 files, followed step by step so that none leads out of the scan's folder."""

from __future__ import annotations

from pathlib import Path

import h5py

from ..core.errors import ScanError
from .regular import check_regular

_MOST_LINKS = 40
_MOST_SOURCES = 20_000


class Links:
    """One open HDF5 file and those beside it that it links to.

    Parameters
    ----------
    path : path

    Raises
    ------
    ScanError
        It is not an HDF5 file, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._folder = self.path.absolute().parent.resolve()
        self._files: dict[Path, h5py.File] = {}
        self._checked: set[tuple[str, str]] = set()
        self._places: dict[tuple[int, int], str] = {}
        self.root = self._open(self.path)

    def paths(self) -> list[Path]:
        """The file, and those that were opened through its links."""
        first = self.path.absolute().resolve()
        return [self.path, *(path for path in self._files if path != first)]

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    def _open(self, path: Path) -> h5py.File:
        path = path.absolute().resolve()
        if path in self._files:
            return self._files[path]
        check_regular(path)
        try:
            file = h5py.File(path, "r", locking=False)
        except FileNotFoundError:
            raise ScanError(f"{path} does not exist; check the name.") from None
        except OSError as error:
            detail = " ".join(str(error).split())[:150]
            raise ScanError(
                f"{path.name} is not an HDF5 file, is cut off or is of a newer version ({detail}); "
                "copy it again from the instrument."
            ) from error
        self._files[path] = file
        return file

    def get(self, place: str) -> h5py.Group | h5py.Dataset | None:
        """What stands at a path of the file; None if nothing does.

        Raises
        ------
        ScanError
            A link leads out of the folder, or to a file that is not there.
        """
        found = self._walk(self.root, [p for p in place.split("/") if p], 0)
        if isinstance(found, h5py.Dataset):
            self._places.setdefault(_key(found), "/" + place.strip("/"))
        return found

    def place_of(self, data: h5py.Dataset) -> str:
        """By which path of the first file a data set was reached."""
        return self._places.get(_key(data), data.name or "/")

    def _walk(self, node, parts: list[str], depth: int):
        for k, name in enumerate(parts):
            if depth > _MOST_LINKS:
                raise ScanError(f"The links in {self.path.name} go round in a circle.")
            if not isinstance(node, h5py.Group):
                return None
            link = node.get(name, getlink=True)
            if link is None:
                return None
            rest = parts[k + 1 :]
            if isinstance(link, h5py.SoftLink):
                start = node.file if link.path.startswith("/") else node
                there = [p for p in link.path.split("/") if p and p != "."]
                return self._walk(start, [*there, *rest], depth + 1)
            if isinstance(link, h5py.ExternalLink):
                file = self._open(self.inside(link.filename, Path(node.file.filename).parent))
                there = [p for p in link.path.split("/") if p]
                return self._walk(file, [*there, *rest], depth + 1)
            node = node[name]
        return node

    def inside(self, name: str, folder: Path) -> Path:
        """The file that a link names, if it lies in the scan's folder or below.

        Raises
        ------
        ScanError
            It lies elsewhere, or is not there.
        """
        path = folder / name
        if Path(name).is_absolute() and not path.exists():
            path = folder / Path(name).name  # the scan was moved as a whole
        if not path.resolve().is_relative_to(self._folder):
            raise ScanError(
                f"{self.path.name} links to {name}, outside its own folder; copy that file beside "
                "it and link to it there."
            )
        if not path.exists():
            raise ScanError(f"{self.path.name} links to {name}, which is missing; copy it beside.")
        return path

    def check_sources(self, data: h5py.Dataset) -> None:
        """Refuse a data set whose numbers stand in files outside the folder, or missing ones.

        HDF5 fills what a missing source of a virtual data set would hold with zeros.

        Raises
        ------
        ScanError
        """
        waiting = [data]
        while waiting:
            node = waiting.pop()
            key = (node.file.filename, node.name)
            if key in self._checked:
                continue
            self._checked.add(key)
            if len(self._checked) > _MOST_SOURCES:
                raise ScanError(f"{self.path.name} is put together of too many pieces.")
            folder = Path(node.file.filename).parent
            for name, *_ in node.external or ():
                self.inside(name, folder)
            if node.is_virtual:
                waiting += self._sources(node, folder)

    def _sources(self, node: h5py.Dataset, folder: Path) -> list[h5py.Dataset]:
        found = []
        for source in node.virtual_sources():
            if "%" in source.file_name:
                raise ScanError(
                    f"{self.path.name} names its sources by a pattern ({source.file_name}); write "
                    "the virtual data set with their names."
                )
            here = source.file_name == "."
            file = node.file if here else self._open(self.inside(source.file_name, folder))
            there = self._walk(file, [p for p in source.dset_name.split("/") if p], 0)
            if not isinstance(there, h5py.Dataset):
                raise ScanError(
                    f"{self.path.name} is put together of {source.dset_name} in "
                    f"{Path(file.filename).name}, which is missing; copy it beside."
                )
            found.append(there)
        return found


def _key(data: h5py.Dataset) -> tuple[int, int]:
    info = h5py.h5o.get_info(data.id)
    return info.fileno, info.addr
