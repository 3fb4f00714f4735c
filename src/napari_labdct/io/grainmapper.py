"""Grain maps in GrainMapper3D's HDF5 files: what they hold is read phase by phase.

A volume is (z, y, x), as GrainMapper3D and napari have it; positions in mm are (x, y, z).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError
from ..core.hdf5 import check_size, data_set, has, item, open_hdf5
from ..core.reading import check_declared
from ..core.schema import Mismatch
from ..crystal import (
    GrainMap,
    Material,
    matrices_to_quaternions,
    mean_orientation,
    quaternions_to_matrices,
    rodrigues_to_matrix,
)
from .grain_phases import FilePhase, choose_phases

__all__ = ["GrainMap", "MapContent", "MeasuredMap", "read_grainmapper"]

NEWEST_VERSION = 5

_COPIES = 8  # of its numbers, while a map is read
_MOST_CHUNKS = 200_000
_LARGEST_ID = 2**31 - 1
_FAR_MM = 1000.0
MOST_PROJECTIONS = 100_000
_VOXELS_A_GRAIN = 500  # evenly spread; 1 degree of scatter leaves about 0.1
_WIDE_DEG = 5.0


@dataclass(frozen=True, eq=False)
class MeasuredMap:
    """A grain map from a file and what the file says of the scan it came from.

    Attributes
    ----------
    grains : GrainMap
    material : Material
        The first phase that has grains.
    source_sample_mm, sample_detector_mm, tube_kv : float or None
    n_projections : int or None
        Over 360 degrees; the last one repeats the first.
    phases : tuple of Material
        Every phase that has grains; ``grains.phases`` says which grain is of which.
    completeness : ndarray of float32 (nz, ny, nx) or None
    rotations : ndarray of float32 (nz, ny, nx, 4) or None
        Orientation of every voxel, crystal to sample, quaternion with the scalar first; NaN where
        there is none.
    """

    grains: GrainMap
    material: Material
    source_sample_mm: float | None
    sample_detector_mm: float | None
    tube_kv: float | None
    n_projections: int | None
    phases: tuple[Material, ...] = ()
    completeness: np.ndarray | None = None
    rotations: np.ndarray | None = None

    @property
    def omega_deg(self) -> np.ndarray | None:
        """Angles of the scan: -180 to 180 degrees in equal steps (the file does not list them)."""
        if not self.n_projections:
            return None
        return np.linspace(-180.0, 180.0, self.n_projections)


def read_grainmapper(
    path: str | Path,
    *,
    y_flip: bool = False,
    material: str | Material | Sequence[Material] | None = None,
    voxels: bool = False,
) -> MeasuredMap:
    """Read a grain map exported by GrainMapper3D (HDF5, file format versions 1 to 5).

    Orientations are Rodrigues vectors, quaternions or Euler angles (ZXZ or ZYZ, radians).
    Rodrigues vectors are taken as crystal-to-sample rotations; the file's own IPF001 colours agree
    with that. ``Spacing`` and ``Center`` are mm; ``Extent`` is ignored because cropping leaves it
    at its old value. A grain's orientation is the symmetry-aware mean of its valid voxels, its
    phase that of most of them.

    Parameters
    ----------
    path : path
    y_flip : bool
        Mirror the sample in y (positions and orientations), for data of the other handedness.
    material : str, Material or sequence of Material, optional
        The materials of the phases instead of the file's: elements or CIF files, one a phase that
        has grains, parted by commas.
    voxels : bool
        Also give the orientation of every voxel (`MeasuredMap.rotations`; not of a mirrored map).

    Raises
    ------
    ScanError
        The file is not a GrainMapper3D grain map, or what it holds makes no sense.
    SettingsError
        A material cannot be read.
    """
    path = Path(path)
    return assembled(path, read_content(path), y_flip=y_flip, material=material, voxels=voxels)


def assembled(
    path: Path,
    read: MapContent,
    *,
    y_flip: bool = False,
    material: str | Material | Sequence[Material] | None = None,
    voxels: bool = False,
) -> MeasuredMap:
    """The grain map of what a file of any format holds; see `read_grainmapper`."""
    ids, phase_ids = read.ids, read.phase_ids
    found, labels = np.unique(np.maximum(ids, 0), return_inverse=True)
    labels = labels.reshape(ids.shape).astype(np.int32)
    if found[0] > 0:
        labels += 1
    else:
        found = found[1:]
    order, first = _voxels_by_grain(labels, len(found))
    of_grain = np.array([_most(phase_ids.ravel()[order[a:b]]) for a, b in pairwise(first)])
    numbers = np.unique(of_grain)
    phases = choose_phases(path.name, read.phases, numbers.tolist(), material)
    phase_of = np.searchsorted(numbers, of_grain)
    orientations, spread = _orientations(read, order, first, [phases[i] for i in phase_of])
    kept = np.isfinite(orientations).all(axis=(1, 2))
    if not kept.any():
        raise ScanError(f"{path.name} holds no valid orientation: all of them are not numbers.")
    if not kept.all():
        say(path, f"{(~kept).sum()} grains have no valid orientation and are left out")
        number = np.concatenate([[0], np.cumsum(kept) * kept])
        labels = number[labels].astype(np.int32)
    wide = found[kept][spread[kept] > _WIDE_DEG]
    if len(wide):
        say(
            path,
            f"the voxels of {len(wide)} grains (the first is {wide[0]}) are more than "
            f"{_WIDE_DEG:g} degrees off their grain's mean orientation, on average",
        )
    center, orientations = read.center_mm, orientations[kept]
    completeness = read.completeness
    rotations = None
    if voxels and read.rotations is not None and not y_flip:
        rotations = _quaternions(read, labels)
    if y_flip:
        mirror = np.diag([1.0, -1.0, 1.0])
        labels, center = labels[:, ::-1], center * [1, -1, 1]
        completeness = completeness[:, ::-1] if completeness is not None else None
        orientations = mirror @ orientations @ mirror
    grains = GrainMap(
        labels,
        read.voxel_um,
        orientations,
        tuple(center.tolist()),
        found[kept],
        phase_of[kept],
        spread[kept],
    )
    return MeasuredMap(
        grains,
        phases[0],
        *read.distances,
        read.n_projections,
        tuple(phases),
        completeness,
        rotations,
    )


def _quaternions(read: MapContent, labels: np.ndarray) -> np.ndarray:
    """Orientation of every voxel of a grain; NaN elsewhere."""
    found = np.full((*labels.shape, 4), np.nan, np.float32)
    inside = np.flatnonzero(labels)
    rows = read.rotations.reshape(-1, read.rotations.shape[-1])
    flat = found.reshape(-1, 4)
    for some in np.array_split(inside, max(1, len(inside) // 500_000)):
        values = rows[some].astype(float)
        valid = _valid(values, read.kind)
        flat[some[valid]] = matrices_to_quaternions(_CONVERT[read.kind](values[valid]))
    return found


def _valid(values: np.ndarray, kind: str) -> np.ndarray:
    """Which rows are orientations."""
    valid = np.isfinite(values).all(axis=1)
    if kind == "Quaternion":
        valid &= np.linalg.norm(np.where(valid[:, None], values, 0), axis=1) > 1e-6
    return valid


def _euler(values: np.ndarray, middle: int) -> np.ndarray:
    """U of Euler angles in radians, active: Rz(first) R(second) Rz(third), R about `middle`."""
    half = np.asarray(values, float) / 2
    zero = np.zeros_like(half[..., 0])
    turns = []
    for number, axis in ((0, 3), (1, middle), (2, 3)):
        parts = [np.cos(half[..., number]), zero, zero, zero]
        parts[axis] = np.sin(half[..., number])
        turns.append(quaternions_to_matrices(np.stack(parts, axis=-1)))
    return turns[0] @ turns[1] @ turns[2]


_CONVERT = {
    "Rodrigues": rodrigues_to_matrix,
    "Quaternion": quaternions_to_matrices,
    "EulerZXZ": lambda values: _euler(values, 1),
    "EulerZYZ": lambda values: _euler(values, 2),
}
_WIDTH = {"Rodrigues": 3, "Quaternion": 4, "EulerZXZ": 3, "EulerZYZ": 3}


def say(path: Path, what: str) -> None:
    from ..crystal import CrystalWarning

    warnings.warn(f"{path.name}: {what}.", CrystalWarning, stacklevel=3)


@dataclass(frozen=True)
class MapContent:
    """What a file holds, its kinds, sizes and ranges checked.

    Attributes
    ----------
    ids, phase_ids : ndarray of int (nz, ny, nx)
    rotations : ndarray (nz, ny, nx, 3 or 4) or None
        Of every voxel, in the words of `kind`, crystal to sample.
    kind : str
        Rodrigues, Quaternion (scalar first), EulerZXZ (Bunge) or EulerZYZ, in radians.
    voxel_um : float
    center_mm : ndarray (3,)
    distances : tuple of float or None
        Source to sample, sample to detector (mm), voltage (kV).
    n_projections : int or None
    phases : dict of int to FilePhase
    completeness : ndarray of float32 (nz, ny, nx) or None
    by_grain : dict of int to ndarray (3, 3), optional
        Orientation of each grain, where voxels have none of their own.
    """

    ids: np.ndarray
    phase_ids: np.ndarray
    rotations: np.ndarray | None
    kind: str
    voxel_um: float
    center_mm: np.ndarray
    distances: tuple[float | None, ...]
    n_projections: int | None
    phases: dict[int, FilePhase]
    completeness: np.ndarray | None = None
    by_grain: dict[int, np.ndarray] | None = None


def read_content(path: Path) -> MapContent:
    """What a GrainMapper3D file holds, checked; `assembled` makes a map of it."""

    def refuse(why: str) -> ScanError:
        return ScanError(f"{path.name} is not a GrainMapper3D grain map ({why}).")

    with open_hdf5(path, refuse) as file:
        return _content(path, file)


def _content(path: Path, file: Any) -> MapContent:
    version = _single(path, file, "Version", 1e6)
    if version and version > NEWEST_VERSION:
        say(
            path,
            f"version {version:g} of GrainMapper3D's files is newer than what is known here "
            f"({NEWEST_VERSION}); it is read as version {NEWEST_VERSION}",
        )
    group = item(file, "LabDCT")
    data = item(group, "Data")
    box = _stored_box(path, data)
    ids = _whole_numbers(path, data, "GrainId", box)
    if not (ids > 0).any():
        raise ScanError(f"{path.name} holds no grain.")
    phase_ids = (ids > 0).astype(np.int32)
    if has(data, "PhaseId"):
        phase_ids = _whole_numbers(path, data, "PhaseId", box)
    name = next((n for n in _CONVERT if has(data, n)), None)
    if name is None:
        raise Mismatch("it has no Rodrigues, Quaternion or Euler data")
    rotations = _volume(path, data, name, box, _WIDTH[name])
    completeness = None
    if has(data, "Completeness"):
        completeness = _volume(path, data, "Completeness", box).astype(np.float32)
    spacing, center = (_numbers(path, group, n, 3) for n in ("Spacing", "Center"))
    if not np.allclose(spacing, spacing[0], rtol=1e-3):
        raise ScanError(f"{path.name} needs cubic voxels; its spacing is {spacing} mm.")
    if np.abs(center).max() > _FAR_MM:
        raise ScanError(
            f"{path.name}: Center must be within {_FAR_MM:g} mm of the axis, not {center} mm."
        )
    center = center + box.shift * spacing
    if not 1e-5 <= spacing[0] <= 1:
        unit = " It looks like micrometres." if spacing[0] > 1 else " It looks like metres."
        raise ScanError(
            f"{path.name}: the spacing of voxels must be 0.00001 to 1 mm, not {spacing[0]:g}."
            + (unit if spacing[0] > 0 else "")
        )
    distances = tuple(
        _single(path, group, n, 1e5)
        for n in ("SourceToSampleDistance", "SampleToDetectorDistance", "Voltage")
    )
    projections = _single(path, group, "NumberOfProjections", MOST_PROJECTIONS)
    return MapContent(
        ids.astype(np.int64),
        phase_ids.astype(np.int64),
        rotations,
        name,
        float(spacing[0]) * 1e3,
        center,
        distances,
        int(projections) if projections else None,
        _file_phases(path, file),
        completeness,
    )


@dataclass(frozen=True)
class _Box:
    """The part of the volumes that is read: all of it, but for maps too large to be held."""

    shape: tuple[int, int, int]
    part: tuple[slice, slice, slice]

    @property
    def size(self) -> tuple[int, int, int]:
        return tuple(p.stop - p.start for p in self.part)

    @property
    def shift(self) -> np.ndarray:
        """How far its middle lies from that of the volume, voxels (x, y, z)."""
        return np.array([(p.start + p.stop - n) / 2 for p, n in zip(self.part, self.shape)])[::-1]


def _stored_box(path: Path, data: Any) -> _Box:
    """What to read of a map; of one that is too large, the box of chunks that were written."""
    volume = data_set(data, "GrainId")
    shape = tuple(int(n) for n in volume.shape)
    if len(shape) != 3:
        raise ScanError(f"{path.name}: GrainId must be a 3-D volume, not {shape}.")
    box = _Box(shape, tuple(slice(0, n) for n in shape))
    try:
        check_size(volume, "GrainId", _COPIES)
        return box
    except Mismatch:
        chunks = volume.chunks
        if chunks is None or volume.fillvalue != 0:
            raise
        count = volume.id.get_num_chunks()
        if not 0 < count <= _MOST_CHUNKS:
            raise
    at = np.array([volume.id.get_chunk_info(k).chunk_offset for k in range(count)])
    low, high = at.min(axis=0), np.minimum(at.max(axis=0) + chunks, shape)
    box = _Box(shape, tuple(slice(int(a), int(b)) for a, b in zip(low, high)))
    voxels = float(np.prod(box.size, dtype=float))
    check_declared("GrainId", voxels * volume.dtype.itemsize, volume.id.get_storage_size(), _COPIES)
    return box


def _volume(path: Path, data: Any, name: str, box: _Box, width: int | None = None) -> np.ndarray:
    volume = data_set(data, name)
    wanted = box.shape if width is None else (*box.shape, width)
    if tuple(volume.shape) != wanted:
        raise ScanError(
            f"{path.name}: {name} must have the shape {wanted}, not {str(volume.shape)[:60]}."
        )
    if box.size == box.shape:
        check_size(volume, name, _COPIES)
    else:  # of a sparse map the chunks that are not there read as nothing
        needs = float(np.prod(box.size, dtype=float)) * (width or 1) * volume.dtype.itemsize
        check_declared(name, needs, volume.id.get_storage_size(), _COPIES)
    read = np.asarray(volume[box.part])
    return read.astype(read.dtype.newbyteorder("="), copy=False)


def _whole_numbers(path: Path, data: Any, name: str, box: _Box) -> np.ndarray:
    found = _volume(path, data, name, box)
    if found.dtype.kind == "f" and not (np.isfinite(found) & (found == np.round(found))).all():
        raise ScanError(f"{path.name}: {name} must hold whole numbers in every voxel.")
    if found.size and max(abs(float(found.min())), abs(float(found.max()))) > _LARGEST_ID:
        raise ScanError(f"{path.name}: {name} has numbers above {_LARGEST_ID}.")
    return found


def _numbers(path: Path, group: Any, name: str, count: int) -> np.ndarray:
    found = data_set(group, name)
    read = np.asarray(found[()], float) if found.shape == (count,) else np.zeros(0)
    if read.shape != (count,) or not np.isfinite(read).all():
        raise ScanError(f"{path.name}: {name} must be {count} finite numbers.")
    return read


def _single(path: Path, group: Any, name: str, most: float) -> float | None:
    """A number from 0 to `most`, or None if the file has none."""
    if not has(group, name):
        return None
    found = data_set(group, name)
    value = float(np.ravel(found[()])[0]) if found.size == 1 else np.nan
    if not 0 <= value <= most:
        raise ScanError(f"{path.name}: {name} must be 0 to {most:g}, not {value:g}.")
    return value


def _file_phases(path: Path, file: Any) -> dict[int, FilePhase]:
    """The phases of ``PhaseInfo`` by their number in ``PhaseId``."""
    found = {}
    if not has(file, "PhaseInfo"):
        return {}
    phases = item(file, "PhaseInfo")
    if not hasattr(phases, "keys"):
        raise ScanError(f"{path.name}: PhaseInfo is not a group of phases.")
    for key in phases:
        digits = key.removeprefix("Phase")
        if not (key.startswith("Phase") and digits.isdecimal() and len(digits) < 6):
            continue
        phase = item(phases, key)
        cell = tuple(_numbers(path, phase, "UnitCell", 6).tolist())
        number = _single(path, phase, "SpaceGroup", 230) or 0
        name = _text(phase, "Name") if has(phase, "Name") else ""
        found[int(digits)] = FilePhase(name.strip()[:80] or key, cell, int(number))
    return found


def _text(group: Any, name: str) -> str:
    found = data_set(group, name, kinds="SO")
    text = np.ravel(found[()])[0] if found.size == 1 else b""
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return "".join(c for c in text if c.isprintable())


def _voxels_by_grain(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of voxels in the order of their grains, and where each grain begins."""
    flat = np.flatnonzero(labels)
    own = labels.ravel()[flat]
    order = flat[np.argsort(own, kind="stable")]
    counts = np.bincount(own, minlength=count + 1)[1:]
    return order, np.concatenate([[0], np.cumsum(counts)])


def _most(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _orientations(
    read: MapContent, order: np.ndarray, first: np.ndarray, phases: list[Material]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean orientation (n, 3, 3) and spread (n,) of every grain; NaN where no voxel is valid."""
    if read.by_grain is not None:
        ids = read.ids.ravel()[order[first[:-1]]]
        nothing = np.full((3, 3), np.nan)
        means = np.array([read.by_grain.get(int(number), nothing) for number in ids])
        return means, np.zeros(len(means))
    rotations = read.rotations.reshape(-1, read.rotations.shape[-1])
    convert = _CONVERT[read.kind]
    means, spreads = [], []
    for number, crystal in enumerate(phases):
        voxels = order[first[number] : first[number + 1]]
        vectors = rotations[voxels].astype(float)
        vectors = vectors[_valid(vectors, read.kind)]
        if len(vectors) > _VOXELS_A_GRAIN:
            vectors = vectors[np.linspace(0, len(vectors) - 1, _VOXELS_A_GRAIN).astype(int)]
        mean, spread = mean_orientation(convert(vectors), crystal.symmetry)
        means.append(mean)
        spreads.append(spread)
    return np.array(means), np.array(spreads)
