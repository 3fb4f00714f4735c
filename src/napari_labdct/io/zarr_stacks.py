"""Zarr and OME-Zarr: projections from a folder of packed pieces, read and written.

A Zarr array ``(n, rows, cols)`` is a scan; of an OME-Zarr the finest level, with the units of its
axes.  The one long axis beside y and x is the rotation, whether it is called t or z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, ScanError, quoted, reason
from ..core.files import atomic_folder
from ..core.reading import check_regular
from ..core.stacks import LazyStack
from ..scan.scan import Scan
from .facts import MOST_FRAME_BYTES, Facts, check_frame, entries_of, needed

_KEY = "napari-labdct"
_MOST_FRAMES = 10**8
_MOST_FILES = 100_000  # of a store are looked at: none may be a pipe, which never ends
_LONGEST_REASON = 75  # zarr's errors hold what stands in the file
_MOST_PIECES = 20_000


class ZarrFrames(LazyStack):
    """The images of one Zarr array along its only long axis beside the last two."""

    def __init__(self, path: Path, array: Any) -> None:
        self.paths = [path]
        self._array = array
        shape = tuple(array.shape)
        self._axis = next((k for k, n in enumerate(shape[:-2]) if n > 1), None)
        count = 1 if self._axis is None else shape[self._axis]
        super().__init__((count, *shape[-2:]), np.dtype(array.dtype).newbyteorder("="))

    def read(self, index: int) -> np.ndarray:
        place = [0] * (len(self._array.shape) - 2)
        if self._axis is not None:
            place[self._axis] = index
        try:
            made = np.asarray(self._array[tuple(place)])
        except Exception as error:  # whatever a codec makes of damaged bytes
            detail = reason(error, _LONGEST_REASON)
            raise ScanError(
                f"Projection {index} of {self.paths[0].name} cannot be read ({detail}); copy the "
                "folder again."
            ) from error
        return made.astype(self.dtype, copy=False)


def open_zarr(path: Path, inside: str = "") -> Scan:
    """The scan of a Zarr store, or of the array or image `inside` it.

    Raises
    ------
    ScanError
        It holds no stack, axes that a scan does not have, or is damaged.
    """
    zarr = needed("zarr", "zarr", "Reading Zarr stores")
    facts = Facts(path.name)
    for number, part in enumerate(path.rglob("*")):
        if number == _MOST_FILES:
            break
        if not part.is_dir():
            check_regular(part)
    try:
        node = zarr.open(store=str(path), mode="r", path=inside.strip("/") or None)
        attributes = dict(node.attrs)
        array, axes, scale = _image(zarr, node, attributes, facts)
    except ScanError:
        raise
    except Exception as error:
        detail = reason(error, _LONGEST_REASON)
        raise ScanError(
            f"{path.name} holds no Zarr array that can be read ({detail}); copy it again."
        ) from error
    _check(path, array, axes)
    frames = ZarrFrames(path, array)
    _gather(facts, attributes, axes, scale, frames)
    try:
        _missing(array, facts)
    except Exception as error:  # pieces of no size, or more than can be counted
        raise ScanError(
            f"{path.name} is a damaged Zarr array ({reason(error)}); copy it again."
        ) from error
    facts.inside = inside
    name = path.name.removesuffix(".zarr").removesuffix(".ome")
    return facts.scan(frames, name, int(_known(attributes).get("orientation", 1)))


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store of one stack, by its metadata alone."""
    try:
        open_zarr(path)
    except ScanError:
        return False
    return True


def _image(zarr: Any, node: Any, attributes: Mapping[str, Any], facts: Facts):
    """The array, its axes and the size of a step along each; axes and steps may be unknown."""
    if isinstance(node, zarr.Array):
        return node, [], []
    images = attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales")
    if not images:
        arrays = [name for name, _ in node.arrays()]
        if len(arrays) == 1:
            return node[arrays[0]], [], []
        some = ", ".join(arrays[:3]) or "none"
        raise ScanError(
            f"{facts.name} is a group of arrays ({some}); name one, such as "
            f"{facts.name}::/{arrays[0] if arrays else 'name'}."
        )
    image = images[0]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", [])]
    finest = image["datasets"][0]
    array = node[finest["path"]]
    steps = [1.0] * len(array.shape)
    for place in (finest, image):
        for made in place.get("coordinateTransformations", []):
            if made.get("type") == "scale":
                steps = [a * float(b) for a, b in zip(steps, made["scale"])]
    return array, axes, steps


def _check(path: Path, array: Any, axes: list[dict[str, Any]]) -> None:
    shape = tuple(array.shape)
    long = [k for k, n in enumerate(shape[:-2]) if n > 1]
    names = [str(axis.get("name", "")) for axis in axes]
    last = names[-2:]
    if len(shape) < 2 or len(long) > 1 or (last and last != ["y", "x"]):
        told = ", ".join(f"{n} {s}" for n, s in zip(names or "?" * len(shape), shape))
        raise ScanError(f"{path.name} has axes {told}; a scan needs (projections, y, x).")
    if long and names and axes[long[0]].get("type") == "channel":
        raise ScanError(f"{path.name} holds {shape[long[0]]} channels, no projections.")
    if max(shape) > _MOST_FRAMES:
        raise ScanError(
            f"{path.name} declares {quoted(max(shape))} projections or pixels in a row."
        )
    if min(shape) < 1:
        raise ScanError(f"{path.name} is empty: its shape is {shape}.")
    check_frame(path.name, *shape[-2:], array.dtype)
    piece = getattr(array, "shards", None) or array.chunks
    if math.prod(piece) * array.dtype.itemsize > MOST_FRAME_BYTES:
        raise ScanError(f"{path.name} is packed in pieces of more than 2 GB; repack it.")


def _known(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    known = attributes.get(_KEY, {})
    return known if isinstance(known, Mapping) else {}


def _gather(facts: Facts, attributes, axes, scale, frames: ZarrFrames) -> None:
    own = _known(attributes)
    facts.entries(own, len(frames))
    if not axes or "pixel_um" in facts.values:
        return
    unit = str(axes[-1].get("unit", ""))
    if unit:
        facts.take("pixel_um", scale[-1], unit)
    elif scale[-1] != 1:
        facts.take("pixel_um", scale[-1], "")
    turning = axes[frames._axis] if frames._axis is not None else {}
    if facts.omega_deg is None and turning.get("unit") in ("degree", "radian"):
        facts.angles(scale[frames._axis] * np.arange(len(frames)), len(frames), turning["unit"])


def _missing(array: Any, facts: Facts) -> None:
    """Zarr fills pieces that are not there; a half-copied store looks whole."""
    if getattr(array, "nchunks", 0) > _MOST_PIECES:
        return
    there = int(array.nchunks_initialized)
    if there < array.nchunks:
        facts.note(
            f"{array.nchunks - there} of the {array.nchunks} pieces of {facts.name} are not there "
            f"and read as {array.fill_value}; copy it again if the copy was stopped."
        )


def write_zarr(path: Path, scan: Scan, recipe: Mapping[str, Any]) -> Path:
    """A stack as OME-Zarr 0.4 with units and angles, one piece a projection.

    Raises
    ------
    OutputError
        zarr is not installed, or the folder cannot be written.
    """
    try:
        zarr = needed("zarr", "zarr", "Writing OME-Zarr")
    except ScanError as error:
        raise OutputError(str(error).replace("open it", "write it")) from None
    path = Path(path)
    pixel = scan.description.pixel_um
    space = {"type": "space"} | ({"unit": "micrometer"} if pixel else {})
    step = pixel or 1.0
    image = {
        "version": "0.4",
        "name": scan.name,
        "axes": [{"name": "t", "type": "time"}, {"name": "y", **space}, {"name": "x", **space}],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [{"type": "scale", "scale": [1.0, step, step]}],
            }
        ],
    }
    dtype = np.dtype(np.uint8) if scan.dtype.kind == "b" else scan.dtype.newbyteorder("=")
    with atomic_folder(path) as part:
        group = zarr.open_group(str(part), mode="w", zarr_format=2)
        array = group.create_array(
            "0", shape=(scan.n_frames, *scan.shape), chunks=(1, *scan.shape), dtype=dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"}, fill_value=0,
            config={"write_empty_chunks": True},
        )  # fmt: skip
        for index in range(scan.n_frames):
            array[index] = np.asarray(scan.frames[index]).astype(dtype, copy=False)
        group.attrs["multiscales"] = [image]
        group.attrs[_KEY] = {**entries_of(scan), "recipe": dict(recipe)}
    return path
