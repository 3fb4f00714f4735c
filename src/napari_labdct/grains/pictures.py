"""Pictures of a grain map: slices in inverse-pole-figure colours, and the completeness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import SettingsError
from ..crystal import ipf_colour
from .results import GrainResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["map_figure"]


def map_figure(result: GrainResult) -> Figure:
    """Three slices through the middle of the sample: IPF colours above, completeness below.

    Parameters
    ----------
    result : GrainResult
        Of a volume.

    Returns
    -------
    matplotlib.figure.Figure
        Colours say which crystal direction points along z (the rotation axis); axes in um.

    Raises
    ------
    SettingsError
        The result is a list of point grains.
    """
    from matplotlib.figure import Figure

    if result.grains is None or result.part_labels is None or result.completeness is None:
        raise SettingsError("A list of point grains has no slices; draw its table instead.")
    labels, edge = result.part_labels, result.grains.voxel_um
    colours = ipf_colour(result.part_orientations, result.material.symmetry)
    table = np.concatenate([np.ones((1, 3)), colours])
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    axes = figure.subplots(2, 3)
    centre = np.array(result.grains.center_mm) * 1e3
    half = np.array(labels.shape)[::-1] * edge / 2
    for k, (axis, across, up) in enumerate(((2, "y", "z"), (1, "x", "z"), (0, "x", "y"))):
        where = [slice(None)] * 3
        where[axis] = labels.shape[axis] // 2
        part = labels[tuple(where)]
        share = result.completeness[tuple(where)]
        i, j = "xyz".index(across), "xyz".index(up)
        extent = [
            centre[i] - half[i], centre[i] + half[i], centre[j] - half[j], centre[j] + half[j],
        ]  # fmt: skip
        how = {"origin": "lower", "extent": extent, "interpolation": "nearest"}
        axes[0, k].imshow(table[part], **how)
        seen = axes[1, k].imshow(np.where(part > 0, share, np.nan), vmin=0.5, vmax=1, **how)
        for row in (0, 1):
            axes[row, k].set_xlabel(f"{across} (um)")
            axes[row, k].set_ylabel(f"{up} (um)")
    axes[0, 1].set_title(f"{len(result.table)} grains, colour: crystal direction along z (IPF)")
    axes[1, 1].set_title("completeness: share of a grain's reflections that a voxel shows")
    figure.colorbar(seen, ax=axes[1, :], shrink=0.8)
    return figure
