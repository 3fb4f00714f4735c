"""HDF5 files of a user's: every part is looked at before it is read.

A data set may lie in another file (external links, external storage, virtual data sets), declare
terabytes, be a group, or be nothing at all; h5py takes all of that until it is too late.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import LabDCTError, ScanError, quoted
from .reading import FAULTS, check_declared, check_regular, explained
from .schema import Mismatch, parse_json

if TYPE_CHECKING:
    import h5py

_MOST_LINKS = 8
_MOST_TEXT = 1 << 20
_NUMBERS = "iuf"


@contextlib.contextmanager
def open_hdf5(
    path: Path, refuse: Callable[[str], LabDCTError], error: type[LabDCTError] = ScanError
) -> Iterator[h5py.File]:
    """An HDF5 file to read; whatever goes wrong inside becomes one sentence.

    Parameters
    ----------
    path : path
    refuse : callable
        From a reason to what is raised.
    error : type
        Raised for a pipe or a device.
    """
    import h5py

    check_regular(path, error)
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as fault:
        raise refuse("No such file or directory") from fault
    except FAULTS as fault:
        raise refuse("it is not an HDF5 file, or is damaged") from fault
    with file:
        try:
            yield file
        except FAULTS as fault:
            raise explained(fault, refuse) from fault


def item(group: Any, name: str) -> Any:
    """A group or data set of this file; what a link to another file leads to is refused.

    Raises
    ------
    Mismatch, KeyError
    """
    import h5py

    at, parts, links = group, _parts(name), 0
    while parts:
        part = parts.pop(0)
        link = at.get(part, getlink=True) if isinstance(at, h5py.Group) else None
        if link is None:
            raise KeyError(name)
        if isinstance(link, h5py.ExternalLink):
            raise Mismatch(f"{quoted(name)} is a link to another file; copy the data into this one")
        if isinstance(link, h5py.SoftLink):
            links += 1
            if links > _MOST_LINKS:
                raise Mismatch(f"{quoted(name)} is a link that leads nowhere")
            parts = _parts(link.path) + parts
            at = at.file if link.path.startswith("/") else at
            continue
        at = at[part]
    return at


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(name).parts if part != "/"]


def has(group: Any, name: str) -> bool:
    """Whether there is something of a name, of this file or elsewhere."""
    return name in group or group.get(name, getlink=True) is not None


def data_set(group: Any, name: str, ndim: int | None = None, kinds: str = _NUMBERS) -> h5py.Dataset:
    """A data set that is one, lies in this file and holds numbers of some kinds.

    Raises
    ------
    Mismatch, KeyError
    """
    import h5py

    data = item(group, name)
    if not isinstance(data, h5py.Dataset):
        raise Mismatch(f"{quoted(name)} is not a data set")
    if data.external:
        raise Mismatch(f"{quoted(name)} lies in another file; copy the data into this one")
    if data.is_virtual:
        for source in data.virtual_sources():
            other = str(source.file_name)
            place = Path(data.file.filename).parent / other
            if other != "." and (
                Path(other).name != other
                or place.is_symlink()
                or (place.exists() and not place.is_file())
            ):
                raise Mismatch(f"{quoted(name)} is put together from files of another folder")
    if data.shape is None:
        raise Mismatch(f"{quoted(name)} is empty")
    if data.dtype.kind not in kinds:
        raise Mismatch(f"{quoted(name)} holds {str(data.dtype)[:40]}, not numbers")
    if ndim is not None and data.ndim != ndim:
        raise Mismatch(f"{quoted(name)} has {data.ndim} axes, not {ndim}")
    return data


def values(
    group: Any,
    name: str,
    ndim: int | None = None,
    kinds: str = _NUMBERS,
    working: float = 1,
) -> np.ndarray:
    """The numbers of a data set, if the file can hold them and there is memory for them.

    Raises
    ------
    Mismatch, KeyError
    """
    data = data_set(group, name, ndim, kinds)
    check_size(data, name, working)
    read = np.asarray(data[()])
    return read.astype(read.dtype.newbyteorder("="), copy=False)


def check_size(data: h5py.Dataset, name: str, working: float = 1) -> None:
    """Refuse a data set that declares more than the file holds or the memory takes.

    Raises
    ------
    Mismatch
    """
    needs = float(np.prod(data.shape, dtype=float)) * data.dtype.itemsize
    chunk = float(np.prod(data.chunks or (0,), dtype=float)) * data.dtype.itemsize
    holds = None if data.is_virtual else data.id.get_storage_size()
    check_declared(quoted(name), max(needs, chunk), holds, working)


def attribute(holder: Any, name: str) -> Any:
    """A number or text that stands as an attribute.

    Raises
    ------
    Mismatch, KeyError
    """
    import h5py

    if name not in holder.attrs:
        raise Mismatch(f"it lacks '{name}'")
    about = holder.attrs.get_id(name)
    if about.get_storage_size() > _MOST_TEXT or int(np.prod(about.shape or (1,))) > 1:
        raise Mismatch(f"'{name}' is not one value")
    value = holder.attrs[name]
    if isinstance(value, h5py.Empty):
        raise Mismatch(f"'{name}' is empty")
    if isinstance(value, np.ndarray):
        value = value.ravel()[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise Mismatch(f"'{name}' is neither a number nor text")
    return value


def recipe_of(holder: Any, name: str = "recipe") -> dict[str, Any]:
    """The JSON of an attribute, which must be a mapping; empty if there is none.

    Raises
    ------
    Mismatch
    """
    if name not in holder.attrs:
        return {}
    return parse_mapping(attribute(holder, name))


def parse_mapping(text: Any) -> dict[str, Any]:
    """JSON of names and values.

    Raises
    ------
    Mismatch
    """
    if not isinstance(text, (str, bytes)):
        raise Mismatch("the recipe is not text")
    made = parse_json(text)
    if not isinstance(made, dict):
        raise Mismatch("the recipe is not a list of names and values")
    return made
