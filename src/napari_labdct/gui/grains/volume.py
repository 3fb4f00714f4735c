"""What of a map is drawn: a volume of whole numbers and a colour for each, whatever it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...grains.map_comparison import MapComparison
    from .tasks import Growth, Study

#: What the volume can show, in the order of the combo.
IDS, IPF_X, IPF_Y, IPF_Z, COMPLETENESS, BOUNDARIES = (
    "Grain ids", "IPF x", "IPF y", "IPF z", "Completeness", "Boundaries"
)  # fmt: skip
MODES = (IPF_Z, IPF_X, IPF_Y, IDS, COMPLETENESS, BOUNDARIES)
#: What the colours mean, for the combo's tooltip.
KEYS = (
    "IPF x, y, z: crystal direction along the beam at 0 degrees, across it, along the rotation "
    "axis. Grain ids: a colour of its own for each grain. Completeness: dark blue 0, yellow 1, the "
    "share of a grain's reflections seen from the voxel. Boundaries: after a comparison."
)
_CLASSES = 32
#: Voxels along the longest edge of what is drawn; finer maps are thinned.
_DRAWN = 192


@dataclass(frozen=True, eq=False)
class Drawn:
    """A volume as it is drawn.

    Attributes
    ----------
    labels : ndarray of int32 (nz, ny, nx)
        0 is transparent.
    colours : ndarray (n + 1, 4)
        Of label 0, 1, ...
    voxel_um : float
    first_um : ndarray (3,)
        (z, y, x) of the first voxel's middle.
    key : str
        What the colours mean.
    grains : bool
        The labels are grains.
    """

    labels: np.ndarray
    colours: np.ndarray
    voxel_um: float
    first_um: np.ndarray
    key: str = ""
    grains: bool = True


def drawn(
    labels: np.ndarray, colours: np.ndarray, voxel_um: float, center_mm, key: str = "",
    grains: bool = True,
) -> Drawn:  # fmt: skip
    """A volume, thinned if it is large; `center_mm` is (x, y, z), `colours` (n, 3)."""
    step = max(1, -(-max(labels.shape) // _DRAWN))
    middle = (np.array(labels.shape) - 1) / 2
    first = np.array(center_mm, float)[::-1] * 1e3 - middle * voxel_um
    rgba = np.zeros((len(colours) + 1, 4), np.float32)
    rgba[1:, :3], rgba[1:, 3] = colours, 1
    return Drawn(
        np.ascontiguousarray(labels[::step, ::step, ::step], np.int32), rgba, voxel_um * step,
        first, key, grains,
    )  # fmt: skip


def of_growth(growth: Growth) -> Drawn | None:
    """A map that is being made."""
    if growth.labels is None:
        return None
    return drawn(
        growth.labels, growth.colours, growth.voxel_um, growth.center_mm,
        f"{len(growth.colours)} grains, {growth.filled:.0%} of the sample filled.",
    )  # fmt: skip


def of_study(study: Study, mode: str) -> Drawn | None:
    """A map in one of its colourings; None for a list of point grains."""
    edited, grains = study.edited, study.opened.grains
    if grains is None:
        return None
    if mode == COMPLETENESS:
        share = study.opened.completeness
        if share is None:
            share = np.zeros(edited.labels.shape, np.float32)
        classes = 1 + np.clip(share * (_CLASSES - 1), 0, _CLASSES - 1).astype(np.int32)
        labels = np.where(edited.labels > 0, classes, 0)
        return drawn(labels, colours_of("viridis"), grains.voxel_um, grains.center_mm, grains=False)
    colours = different_colours(len(edited.table)) if mode == IDS else study.colours(mode[-1])
    return drawn(edited.labels, colours, grains.voxel_um, grains.center_mm)


def of_comparison(result: MapComparison) -> Drawn:
    """Boundaries of the reference by their distance in the map (Fig. 8); equal ones transparent."""
    epsilon, grains = result.epsilon_um, result.reference
    off = np.isfinite(epsilon) & (epsilon > 0)
    most = float(np.percentile(epsilon[off], 99)) if off.any() else 1.0
    labels = np.zeros(epsilon.shape, np.int32)
    labels[off] = 1 + np.clip(epsilon[off] / most * (_CLASSES - 1), 0, _CLASSES - 1)
    key = (
        f"Boundaries of the reference: dark where the map's are near, yellow where they are "
        f"{most:.3g} um away or more; those that match are transparent."
    )
    return drawn(labels, colours_of("inferno"), grains.voxel_um, grains.center_mm, key, False)


def colours_of(name: str) -> np.ndarray:
    """So many colours (n, 3) of a colour map of vispy's or matplotlib's as there are classes."""
    from napari.utils.colormaps import ensure_colormap

    return ensure_colormap(name).map(np.linspace(0.05, 1, _CLASSES))[:, :3]


def different_colours(count: int) -> np.ndarray:
    """Colours (n, 3) of which neighbours in the list differ: hues by the golden ratio."""
    from colorsys import hsv_to_rgb

    golden = 0.6180339887
    return np.array(
        [
            hsv_to_rgb(k * golden % 1, 0.55 + 0.4 * (k % 3) / 2, 1 - 0.25 * (k % 2))
            for k in range(count)
        ]
    ).reshape(-1, 3)
