"""Virtual polycrystals: cylinders, boxes or any mask filled with Voronoi or Laguerre grains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.errors import SettingsError
from ..crystal import GrainMap, random_orientations

__all__ = ["PRESETS", "Preset", "box_mask", "cylinder_mask", "make_sample", "preset_sample"]


@dataclass(frozen=True)
class Preset:
    """One of the aluminium cylinders of Fang et al. (2021), table 1.

    `gradient` is the local grain size at the bottom and at the top (um) where sizes follow a
    gradient along z. `grey_threshold` is the height above the background at which table 1 counts a
    spot as visible (the threshold of the 8-bit frames less their constant background).
    """

    diameter_um: float
    height_um: float
    grains: int
    voxel_um: float
    gradient_um: tuple[float, float] | None
    grey_threshold: float
    spots_per_projection: float


PRESETS = {
    "D18": Preset(100, 150, 230, 1.25, (9.0, 32.0), 2.268, 391),
    "D35": Preset(200, 300, 337, 2.0, None, 1.847, 717),
    "D64": Preset(400, 600, 485, 3.5, None, 1.597, 1028),
}


# Measured on 600 grains in a cylinder. Voronoi cells: the spread of sizes that follows from seeds
# kept a hard core (in units of the mean size) apart. Laguerre cells (hard core 0.5): the spread
# that follows from lognormal radii of this sigma, and the part of the cells that do not vanish.
_VORONOI_SPREAD = (0.092, 0.106, 0.143, 0.157)
_VORONOI_CORE = (0.65, 0.5, 0.3, 0.0)
_LAGUERRE_SPREAD = (0.134, 0.164, 0.196, 0.298, 0.42, 0.558)
_LAGUERRE_SIGMA = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_LAGUERRE_KEPT = (1.0, 1.0, 0.999, 0.989, 0.932, 0.763)


def cylinder_mask(diameter_um: float, height_um: float, voxel_um: float) -> np.ndarray:
    """Boolean volume (nz, ny, nx) of an upright cylinder that fills the volume."""
    n = max(1, round(diameter_um / voxel_um))
    nz = max(1, round(height_um / voxel_um))
    line = (np.arange(n) - (n - 1) / 2) * voxel_um
    disc = line[:, None] ** 2 + line**2 <= (diameter_um / 2) ** 2
    return np.broadcast_to(disc, (nz, n, n)).copy()


def box_mask(size_um: tuple[float, float, float], voxel_um: float) -> np.ndarray:
    """Boolean volume (nz, ny, nx) of a box with edges (x, y, z), all True."""
    return np.ones([max(1, round(edge / voxel_um)) for edge in size_um[::-1]], bool)


def make_sample(
    mask: np.ndarray,
    voxel_um: float,
    *,
    grains: int | None = None,
    mean_size_um: float | None = None,
    spread: float = 0.25,
    gradient_um: tuple[float, float] | None = None,
    seed: int = 0,
    center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> GrainMap:
    """Fill a mask with grains of uniformly random orientation.

    Parameters
    ----------
    mask : ndarray of bool (nz, ny, nx)
        The sample.
    voxel_um : float
        Edge of a voxel.
    grains : int, optional
        Number of grains; follows from `mean_size_um` and `spread` if None.
    mean_size_um : float, optional
        Mean diameter (of the sphere of equal volume) of the grains.
    spread : float
        Standard deviation over mean of the sizes, 0.09 to 0.55. Up to 0.157 comes from Voronoi
        cells of seeds kept apart, more from Laguerre cells of lognormal radii. With a gradient it
        is ignored.
    gradient_um : tuple of float, optional
        Sizes at the bottom and the top of the volume; the density of seeds is 1 / D(z)^3.
    seed : int
        The same seed gives the same sample.
    center_mm : tuple of float
        (x, y, z) of the middle of the volume.

    Raises
    ------
    SettingsError
        The mask is empty, or there is no room for a single grain.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 3 or not mask.any():
        raise SettingsError("The sample is empty: no voxel lies inside its outline.")
    if not np.isfinite(voxel_um) or voxel_um <= 0:
        raise SettingsError(f"voxel_um must be larger than 0, not {voxel_um}.")
    volume = mask.sum() * voxel_um**3
    sizes = None if gradient_um is None else np.linspace(*gradient_um, mask.shape[0])
    if grains is None:
        grains = _count(mask, voxel_um, mean_size_um, spread, sizes)
    if grains < 1:
        raise SettingsError(
            "The sample is smaller than one grain; make it larger or the grains smaller."
        )
    if grains > mask.sum():
        raise SettingsError(
            f"{grains} grains do not fit into {mask.sum()} voxels; choose smaller voxels."
        )
    rng = np.random.default_rng(seed)
    typical = np.cbrt(6 * volume / np.pi / grains)
    points = np.argwhere(mask)[:, ::-1] * voxel_um
    wide = sizes is None and spread > _VORONOI_SPREAD[-1]
    weights = None
    if wide:
        sigma = float(np.interp(spread, _LAGUERRE_SPREAD, _LAGUERRE_SIGMA))
        kept = float(np.interp(sigma, _LAGUERRE_SIGMA, _LAGUERRE_KEPT))
        count = min(round(grains / kept), int(mask.sum()))
        seeds = _seeds(mask, voxel_um, count, None, 0.5 * typical, rng)
        weights = (typical / 2 * rng.lognormal(-(sigma**2) / 2, sigma, count)) ** 2
    else:
        core = 0.0 if sizes is not None else np.interp(spread, _VORONOI_SPREAD, _VORONOI_CORE)
        seeds = _seeds(mask, voxel_um, grains, sizes, core * typical, rng)
    cell = _nearest(points, seeds, weights)
    found, cell = np.unique(cell, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = cell + 1
    return GrainMap(labels, voxel_um, random_orientations(len(found), rng), center_mm)


def _count(
    mask: np.ndarray,
    voxel_um: float,
    mean_size_um: float | None,
    spread: float,
    sizes: np.ndarray | None,
) -> int:
    if sizes is not None:
        per_slice = mask.sum(axis=(1, 2)) * voxel_um**3 / (np.pi / 6 * sizes**3)
        return round(float(per_slice.sum()))
    if mean_size_um is None or not mean_size_um > 0:
        raise SettingsError("Give the number of grains or a mean grain size larger than 0.")
    # <D^3> exceeds <D>^3: 1 + 3 cv^2 for any narrow distribution (exact for cv^3 terms = 0).
    mean_cube = mean_size_um**3 * (1 + 3 * spread**2)
    return round(mask.sum() * voxel_um**3 / (np.pi / 6 * mean_cube))


def _seeds(
    mask: np.ndarray,
    voxel_um: float,
    count: int,
    sizes: np.ndarray | None,
    core_um: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Seeds (count, 3), (x, y, z) in um, kept `core_um` apart as far as there is room."""
    inside = np.flatnonzero(mask)
    chance = None
    if sizes is not None:
        chance = (1.0 / sizes**3)[inside // mask[0].size]
        chance = chance / chance.sum()
    kept = np.empty((0, 3))
    for _ in range(200):
        draw = rng.choice(inside, 2 * count, p=chance)
        index = np.stack(np.unravel_index(draw, mask.shape), axis=1)[:, ::-1]
        for point in (index + rng.uniform(-0.5, 0.5, index.shape)) * voxel_um:
            gap = ((kept - point) ** 2).sum(axis=1)
            if len(kept) == 0 or gap.min() >= core_um**2:
                kept = np.vstack([kept, point])
            if len(kept) == count:
                return kept
        # No room left at this distance: come closer rather than give up.
        core_um *= 0.97
    return kept


def _nearest(points: np.ndarray, seeds: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Index (n,) of the Voronoi or, with weights (squared radii), Laguerre cell of each point.

    A power diagram is a nearest-neighbour search after lifting seed i to a fourth coordinate
    sqrt(max(w) - w_i) and the points to 0.
    """
    from scipy.spatial import cKDTree

    if weights is not None:
        seeds = np.column_stack([seeds, np.sqrt(weights.max() - weights)])
        points = np.column_stack([points, np.zeros(len(points))])
    return cKDTree(seeds).query(points, workers=-1)[1]


def preset_sample(name: str, *, seed: int = 1, voxel_um: float | None = None) -> GrainMap:
    """One of the samples of table 1: ``D18``, ``D35`` or ``D64``.

    D18 follows a size gradient along z (9 to 32 um): only that gives its wide distribution. D35 and
    D64 are Voronoi cells of seeds that keep 0.1 d apart and lie denser towards the axis
    (r = R u with u uniform), as in the paper's simulator.

    Raises
    ------
    SettingsError
        There is no such preset.
    """
    if name not in PRESETS:
        raise SettingsError(f"'{name}' is not a sample; choose {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    voxel_um = preset.voxel_um if voxel_um is None else voxel_um
    mask = cylinder_mask(preset.diameter_um, preset.height_um, voxel_um)
    if preset.gradient_um is not None:
        return make_sample(
            mask, voxel_um, grains=preset.grains, gradient_um=preset.gradient_um, seed=seed
        )
    rng = np.random.default_rng(seed)
    typical = np.cbrt(1.5 * preset.diameter_um**2 * preset.height_um / preset.grains)
    kept = np.empty((0, 3))
    while len(kept) < preset.grains:
        r = preset.diameter_um / 2 * rng.random()
        turn = 2 * np.pi * rng.random()
        point = [r * np.cos(turn), r * np.sin(turn), preset.height_um * (rng.random() - 0.5)]
        if len(kept) == 0 or ((kept - point) ** 2).sum(axis=1).min() > (0.1 * typical) ** 2:
            kept = np.vstack([kept, point])
    middle = (np.array(mask.shape)[::-1] - 1) / 2
    cell = _nearest((np.argwhere(mask)[:, ::-1] - middle) * voxel_um, kept, None)
    found, cell = np.unique(cell, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = cell + 1
    return GrainMap(labels, voxel_um, random_orientations(len(found), rng))
