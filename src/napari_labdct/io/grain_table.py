"""The grains of a map as a table, CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..core.files import write_atomically
from ..crystal import matrices_to_quaternions, matrix_to_bunge, matrix_to_rodrigues
from .grainmapper import MeasuredMap

COLUMNS = (
    "grain", "phase", "x_um", "y_um", "z_um", "voxels", "diameter_um", "phi1_deg", "phi_deg",
    "phi2_deg", "q0", "q1", "q2", "q3", "r1", "r2", "r3", "completeness",
)  # fmt: skip


def grain_rows(measured: MeasuredMap) -> list[tuple]:
    """A row of `COLUMNS` for each grain that has voxels.

    Bunge angles, quaternion (scalar first) and Rodrigues vector all are U, crystal to sample;
    `completeness` is the mean over the grain's voxels, NaN if the map has none.
    """
    grains = measured.grains
    phases = list(measured.phases) or [measured.material]
    mean = np.full(grains.n_grains, np.nan)
    if measured.completeness is not None:
        known = np.isfinite(measured.completeness) & (grains.labels > 0)
        labels = grains.labels[known]
        total = np.bincount(
            labels, weights=measured.completeness[known], minlength=grains.n_grains + 1
        )[1:]
        count = np.bincount(labels, minlength=grains.n_grains + 1)[1:]
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    u = grains.orientations
    words = np.concatenate(
        [matrix_to_bunge(u), matrices_to_quaternions(u), matrix_to_rodrigues(u)], axis=1
    )
    return [
        (
            int(grains.grain_ids[i]), phases[grains.phases[i]].name,
            *(grains.centroids_mm[i] * 1e3), int(grains.voxels_per_grain[i]),
            grains.diameters_um[i], *words[i], mean[i],
        )
        for i in np.flatnonzero(grains.voxels_per_grain)
    ]  # fmt: skip


def write_grain_table(path: Path, measured: MeasuredMap) -> list[Path]:
    """Write the grains of a map as CSV.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in grain_rows(measured):
        writer.writerow([v if isinstance(v, int | str) else f"{v:.9g}" for v in row])
    write_atomically(path, text.getvalue())
    return [path]
