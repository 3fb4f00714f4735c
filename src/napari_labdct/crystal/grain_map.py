"""Grain maps: grains on a regular grid, with orientation and phase of each.

A volume is (z, y, x), as GrainMapper3D and napari have it; positions in mm are (x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..core.errors import SettingsError

__all__ = ["GrainMap"]


@dataclass(frozen=True, eq=False)
class GrainMap:
    """Grains on a regular grid.

    Parameters
    ----------
    labels : ndarray of int (nz, ny, nx)
        0 outside the sample; grain `i` has label `i + 1`.
    voxel_um : float
        Edge of a voxel.
    orientations : ndarray (n, 3, 3)
        U of each grain, crystal to sample.
    center_mm : tuple of float
        (x, y, z) of the middle of the volume in the sample frame; the rotation axis is x = y = 0.
    grain_ids : ndarray of int (n,)
        What each grain was called in its file; 1, 2, ... by default.
    phases : ndarray of int (n,)
        Phase of each grain, from 0; all 0 by default.
    spread_deg : ndarray (n,)
        Mean angle between the voxels of a grain and its orientation; 0 by default.

    Raises
    ------
    SettingsError
        The volume holds no grain, or labels and orientations do not match.
    """

    labels: np.ndarray
    voxel_um: float
    orientations: np.ndarray
    center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    grain_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    phases: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    spread_deg: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        orientations = np.asarray(self.orientations, float)
        if orientations.shape[1:] != (3, 3) or not np.isfinite(orientations).all():
            raise SettingsError("A grain map needs one finite orientation (3, 3) a grain.")
        if len(self.center_mm) != 3 or not np.isfinite(self.center_mm).all():
            raise SettingsError(f"The centre must be three numbers in mm, not {self.center_mm}.")
        if labels.ndim != 3 or labels.dtype.kind not in "iu":
            raise SettingsError("A grain map needs a 3-D volume of whole numbers (z, y, x).")
        if not labels.any():
            raise SettingsError("The sample is empty: no voxel belongs to a grain.")
        if labels.min() < 0 or labels.max() > len(orientations):
            raise SettingsError(
                f"The sample has labels from {labels.min()} to {labels.max()} "
                f"but {len(orientations)} orientations."
            )
        if not (np.isfinite(self.voxel_um) and self.voxel_um > 0):
            raise SettingsError(f"voxel_um must be larger than 0, not {self.voxel_um}.")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "orientations", orientations)
        if len(self.grain_ids) != len(orientations):
            object.__setattr__(self, "grain_ids", np.arange(1, len(orientations) + 1))
        for name, kind in (("phases", int), ("spread_deg", float)):
            if len(getattr(self, name)) != len(orientations):
                object.__setattr__(self, name, np.zeros(len(orientations), kind))

    @property
    def n_grains(self) -> int:
        """Number of grains."""
        return len(self.orientations)

    @cached_property
    def voxels_per_grain(self) -> np.ndarray:
        """Number of voxels (n,) of each grain."""
        return np.bincount(self.labels.ravel(), minlength=self.n_grains + 1)[1:]

    @cached_property
    def volumes_um3(self) -> np.ndarray:
        """Volume (n,) of each grain, um^3."""
        return self.voxels_per_grain * self.voxel_um**3

    @cached_property
    def diameters_um(self) -> np.ndarray:
        """Diameter (n,) of the sphere of the same volume, um."""
        return np.cbrt(6 / np.pi * self.volumes_um3)

    @cached_property
    def centroids_mm(self) -> np.ndarray:
        """Centre of mass (n, 3), (x, y, z) in mm of each grain; NaN for a grain without voxels."""
        flat = self.labels.ravel()
        sums = [
            np.bincount(flat, weights=axis.ravel(), minlength=self.n_grains + 1)[1:]
            for axis in np.broadcast_arrays(*self._axes_mm())
        ]
        with np.errstate(invalid="ignore"):
            return np.stack(sums, axis=1)[:, ::-1] / self.voxels_per_grain[:, None]

    def _axes_mm(self) -> list[np.ndarray]:
        """Coordinates of voxel centres along z, y, x in mm, broadcastable over the volume."""
        axes = []
        for axis, middle in enumerate(self.center_mm[::-1]):
            n = self.labels.shape[axis]
            shape = [1, 1, 1]
            shape[axis] = n
            line = middle + (np.arange(n) - (n - 1) / 2) * self.voxel_um * 1e-3
            axes.append(line.reshape(shape))
        return axes

    @cached_property
    def radius_mm(self) -> float:
        """Radius of the smallest upright cylinder about `center_mm` that holds the sample."""
        inside = self.labels.any(axis=0)
        _, y, x = self._axes_mm()
        r = np.hypot(x[0] - self.center_mm[0], y[0] - self.center_mm[1])
        return float(r[inside].max() + self.voxel_um * 0.5e-3)

    def cells(self, max_edge_um: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Centres of sub-cells, grain after grain.

        Parameters
        ----------
        max_edge_um : float
            Voxels with a longer edge are divided into equal cubes.

        Returns
        -------
        points_mm : ndarray of float32 (n, 3)
            (x, y, z).
        first : ndarray of int (n_grains + 1,)
            The cells of grain `i` are ``points_mm[first[i]:first[i + 1]]``.
        volume_um3 : float
            Volume of one cell.
        """
        flat = np.flatnonzero(self.labels)
        label = self.labels.ravel()[flat]
        flat = flat[np.argsort(label, kind="stable")]
        index = np.stack(np.unravel_index(flat, self.labels.shape), axis=1)[:, ::-1]
        middle = (np.array(self.labels.shape)[::-1] - 1) / 2
        points = (index - middle) * self.voxel_um * 1e-3 + np.array(self.center_mm)
        counts = self.voxels_per_grain
        split = max(1, int(np.ceil(self.voxel_um / max_edge_um - 1e-6)))
        if split > 1:
            line = ((np.arange(split) + 0.5) / split - 0.5) * self.voxel_um * 1e-3
            offset = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
            points = (points[:, None] + offset).reshape(-1, 3)
        first = np.concatenate([[0], np.cumsum(counts * split**3)])
        return points.astype(np.float32), first, (self.voxel_um / split) ** 3
