"""Where the sample is: a cylinder, a box, a measured volume, or what the spots themselves say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError, SettingsError
from ..core.hdf5 import open_hdf5, values
from ..core.reading import check_declared
from ..core.schema import Mismatch
from ..io.tiff import TiffFrames
from .growth import VoxelGrid
from .indexing import Voter
from .settings import GrainSettings

__all__ = ["outline", "probe_sample", "read_mask_volume", "shaped"]

#: More voxels than this do not fit into the memory a grain map may use.
MOST_VOXELS = 40_000_000
_COPIES = 3  # of a volume, while it is cut
_SMALLEST_UM, _LARGEST_UM = 0.01, 1000.0
_FAR_MM = 1000.0


def outline(settings: GrainSettings, voxel_um: float) -> VoxelGrid | None:
    """The grid of a sample that the settings describe; nothing if the spots must tell.

    Raises
    ------
    ScanError, SettingsError
        The mask cannot be read, or diameter or height are missing.
    """
    if settings.mask:
        volume, edge_um, center = read_mask_volume(settings.mask, settings.mask_voxel_um)
        return resampled(volume, edge_um, center, voxel_um)
    if settings.sample == "spots":
        return None
    if settings.diameter_um is None or settings.height_um is None:
        raise SettingsError(
            f"A {settings.sample} needs diameter_um and height_um; give both, or --sample spots."
        )
    return shaped(settings.sample, settings.diameter_um, settings.height_um, voxel_um)


def shaped(
    kind: str, diameter_um: float, height_um: float, voxel_um: float, z_um: float = 0.0
) -> VoxelGrid:
    """The grid of a cylinder or a box about the rotation axis, its middle at height `z_um`."""
    n = max(1, int(np.ceil(diameter_um / voxel_um)))
    nz = max(1, int(np.ceil(height_um / voxel_um)))
    if n * n * nz > MOST_VOXELS:
        raise SettingsError(
            f"A {kind} of {diameter_um:g} x {height_um:g} um has {n * n * nz / 1e6:.0f} million "
            f"voxels of {voxel_um:g} um; make voxel_um larger or the sample smaller."
        )
    line = (np.arange(n) - (n - 1) / 2) * voxel_um
    disc = np.ones((n, n), bool)
    if kind == "cylinder":
        disc = line[:, None] ** 2 + line**2 <= (diameter_um / 2) ** 2
        disc[n // 2, n // 2] = True
    inside = np.ascontiguousarray(np.broadcast_to(disc, (nz, n, n)))
    return VoxelGrid(inside, voxel_um * 1e-3, np.array([0.0, 0.0, z_um * 1e-3]))


def read_mask_volume(
    path: str | Path, voxel_um: float | None = None
) -> tuple[np.ndarray, float, np.ndarray]:
    """A measured outline of the sample.

    Parameters
    ----------
    path : path
        GrainMapper3D HDF5 (``/AbsorptionCT/Mask`` or ``Data``, else ``/LabDCT/Data/Mask``), any
        other HDF5 file with one 3-D data set, or a TIFF volume.
    voxel_um : float, optional
        Edge of a voxel, for files that do not tell.

    Returns
    -------
    inside : ndarray of bool (nz, ny, nx)
    voxel_um : float
    center_mm : ndarray (3,)
        (x, y, z); the rotation axis for files that do not tell.

    Raises
    ------
    ScanError
        The file holds no volume.
    SettingsError
        The size of its voxels is not known.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ScanError(f"The sample mask {path} does not exist; check the name.")
    center = np.zeros(3)
    if path.suffix.lower() in (".h5", ".hdf5", ".hdf"):
        volume, spacing, center = _hdf5_volume(path)
        voxel_um = spacing if spacing is not None else voxel_um
    else:
        volume = _tiff_volume(path)
    if volume.ndim != 3:
        raise ScanError(f"The sample mask {path.name} has shape {volume.shape}; it must be 3-D.")
    if voxel_um is None:
        raise SettingsError(
            f"{path.name} does not say how large its voxels are; give --mask-voxel-um."
        )
    if not np.isfinite(voxel_um) or not _SMALLEST_UM <= voxel_um <= _LARGEST_UM:
        raise SettingsError(
            f"The voxels of {path.name} would be {voxel_um:g} um large; they must be "
            f"{_SMALLEST_UM:g} to {_LARGEST_UM:g} um."
        )
    if not np.isfinite(center).all() or np.abs(center).max() > _FAR_MM:
        raise ScanError(f"The centre of the sample mask {path.name} is not near the axis.")
    if volume.dtype.kind == "f" and not np.isfinite(volume).all():
        raise ScanError(
            f"The sample mask {path.name} holds values that are not numbers; replace them by 0."
        )
    inside = _threshold(volume)
    if not inside.any():
        raise ScanError(f"The sample mask {path.name} is empty.")
    return inside, float(voxel_um), center


def _hdf5_volume(path: Path) -> tuple[np.ndarray, float | None, np.ndarray]:
    def refuse(why: str) -> ScanError:
        return ScanError(f"The sample mask {path.name} cannot be read ({why}).")

    with open_hdf5(path, refuse) as file:
        for group, name in (
            ("AbsorptionCT", "Mask"), ("AbsorptionCT", "Data"), ("LabDCT", "Data/Mask"),
            ("LabDCT", "Data/GrainId"),
        ):  # fmt: skip
            if group in file and f"{group}/{name}" in file:
                spacing, center = (
                    values(file, f"{group}/{n}", 1).astype(float) for n in ("Spacing", "Center")
                )
                if (
                    spacing.shape != (3,)
                    or center.shape != (3,)
                    or np.ptp(spacing) > (1e-3 * abs(spacing[0]))
                ):
                    raise Mismatch("spacing and centre must be three numbers, voxels cubes")
                return _volume(file, f"{group}/{name}"), float(spacing[0]) * 1e3, center
        volumes: list[str] = []
        file.visititems(
            lambda name, item: volumes.append(name) if getattr(item, "ndim", 0) == 3 else None
        )
        if len(volumes) != 1:
            raise ScanError(
                f"{path.name} holds {len(volumes)} volumes; give a file with one, or one of "
                "GrainMapper3D."
            )
        return _volume(file, volumes[0]), None, np.zeros(3)


def _volume(file: Any, name: str) -> np.ndarray:
    return values(file, name, kinds="iufb", working=_COPIES)


def _tiff_volume(path: Path) -> np.ndarray:
    """A TIFF stack as a volume, read as every stack is."""
    stack = TiffFrames([path])
    try:
        check_declared("the volume", float(stack.size) * stack.dtype.itemsize, None, _COPIES)
    except Mismatch as error:
        raise ScanError(f"The sample mask {path.name} cannot be read ({error}).") from error
    return stack[:]


def _threshold(volume: np.ndarray) -> np.ndarray:
    """Masks and labels by what is not 0; grey volumes of many values by Otsu's threshold."""
    if volume.dtype.kind == "b":
        return volume
    some = volume.ravel()[:: max(1, volume.size // 200_000)]
    if len(np.unique(some)) <= 2 or (some == 0).mean() > 0.02:
        return volume > 0
    from skimage.filters import threshold_otsu

    return volume > threshold_otsu(some)


def resampled(
    inside: np.ndarray, edge_um: float, center_mm: np.ndarray, voxel_um: float
) -> VoxelGrid:
    """A mask on a grid of another voxel size over the same box, cut to the sample."""
    where = np.nonzero(inside)
    low = np.array([w.min() for w in where])
    high = np.array([w.max() + 1 for w in where])
    size_um = (high - low) * edge_um
    counts = np.maximum(1, np.ceil(size_um / voxel_um - 1e-6)).astype(int)
    if np.prod(counts.astype(float)) > MOST_VOXELS:
        raise SettingsError(
            f"The sample has {np.prod(counts) / 1e6:.0f} million voxels of {voxel_um:g} um; "
            "make voxel_um larger."
        )
    middle = (low + high) / 2
    index = []
    for axis in range(3):
        at = (np.arange(counts[axis]) - (counts[axis] - 1) / 2) * voxel_um / edge_um
        k = np.floor(middle[axis] + at).astype(int)
        index.append(np.clip(k, 0, inside.shape[axis] - 1))
    shift = (middle - np.array(inside.shape) / 2)[::-1] * edge_um * 1e-3
    return VoxelGrid(
        np.ascontiguousarray(inside[np.ix_(*index)]), voxel_um * 1e-3, np.asarray(center_mm) + shift
    )


def probe_sample(
    voter: Voter, step_um: float, limit_um: float
) -> Iterator[tuple[float, float, float] | None]:
    """Find how far the sample reaches: points from the axis outwards that hold a crystal.

    Parameters
    ----------
    voter : Voter
        Its candidates tell whether a point holds a crystal.
    step_um : float
        Distance of rings, about a grain.
    limit_um : float
        Largest radius and half height.

    Yields
    ------
    None after every ring, at last (diameter_um, lowest_um, highest_um).

    Raises
    ------
    ScanError
        No crystal is seen about the axis.
    """

    def held(radius: float, height: float, turns: int) -> bool:
        angle = (np.arange(turns) + 0.3) * 2 * np.pi / turns
        points = [(radius * np.cos(a), radius * np.sin(a), height) for a in angle]
        tries = [voter.candidates(np.array(p) * 1e-3) for p in points]
        return any(c.completeness > 0.5 for found in tries for c in found)

    reach = {"radius": 0.0, "up": 0.0, "down": 0.0}
    seen = False
    for name in ("up", "down", "radius", "up", "down"):
        empty = 0
        at = reach[name]
        while empty < 3 and at <= limit_um:
            aside = 0.5 * reach["radius"]
            if name == "radius":
                hit = held(at, 0.5 * (reach["up"] - reach["down"]), 6 if at else 1)
            else:
                sign = 1 if name == "up" else -1
                hit = held(aside, sign * at, 5 if aside else 1)
            if hit:
                reach[name], empty, seen = at, 0, True
            else:
                empty += 1
            at += step_um
            yield None
    if not seen:
        raise ScanError(
            "No crystal was found about the rotation axis; check the geometry, the material and "
            "the direction of rotation, or give the sample's outline with --sample or --mask."
        )
    margin = 1.5 * step_um
    yield (
        2 * (reach["radius"] + margin), -reach["down"] - margin, reach["up"] + margin,
    )  # fmt: skip
