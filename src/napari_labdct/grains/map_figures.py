"""Pictures of compared grain maps, like the paper's Figs 7 and 8; drawn without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .map_comparison import MapComparison

COLOURS = ("#007a8a", "#b06000")


def _figure(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def deviation_over_size(
    sizes_um: Sequence[np.ndarray], deviations_um: Sequence[np.ndarray], names: Sequence[str]
) -> Figure:
    """Fig. 7(a): boundary deviation of each grain over its diameter in the reference."""
    figure, axes = _figure()
    for size, deviation, name, colour in zip(sizes_um, deviations_um, names, COLOURS, strict=False):
        axes.scatter(size, deviation, 12, colour, alpha=0.7, linewidths=0, label=name)
    axes.set(xlabel="diameter in the reference (um)", ylabel="boundary deviation (um)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def ratio_over_size(size_um: np.ndarray, ratio: np.ndarray) -> Figure:
    """Fig. 7(b): deviation of the second map over that of the first."""
    figure, axes = _figure()
    axes.scatter(size_um, ratio, 12, "#333a40", alpha=0.7, linewidths=0)
    axes.axhline(1, color="#9aa3aa", linewidth=1)
    axes.set(xlabel="diameter in the reference (um)", ylabel="ratio of boundary deviations")
    axes.set_ylim(bottom=0)
    return figure


def detection(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> Figure:
    """Share of the reference's grains that were found, by diameter.

    Parameters
    ----------
    rows : sequence of tuple
        From (um), grains, found in each map.
    """
    figure, axes = _figure()
    at = np.arange(len(rows))
    width = 0.8 / max(len(names), 1)
    for k, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        share = [row[2 + k] / row[1] for row in rows]
        axes.bar(at + (k - (len(names) - 1) / 2) * width, share, width, color=colour, label=name)
    axes.set_xticks(at, [f"≥ {row[0]}\n({row[1]})" for row in rows])
    axes.set(
        xlabel="diameter in the reference (um); number of grains in brackets",
        ylabel="share found",
        ylim=(0, 1.05),
    )
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def boundaries(result: MapComparison) -> Figure:
    """Fig. 8: three sections; boundary voxels by their distance, those that match transparent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    labels, epsilon = result.reference.labels, result.epsilon_um
    known = epsilon[np.isfinite(epsilon) & (epsilon > 0)]
    most = float(np.percentile(known, 99)) if len(known) else 1.0
    shown: Any = None
    for panel, axis, name in zip(panels, range(3), ("z", "y", "x"), strict=True):
        middle = labels.shape[axis] // 2
        section = np.take(labels, middle, axis)
        off = np.take(epsilon, middle, axis)
        off = np.where(off > 0, off, np.nan)
        edge = _edges(section)
        grey = np.where(section == 0, 1.0, np.where(edge, 0.55, 0.9))
        panel.imshow(grey, "gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")
        shown = panel.imshow(
            off, "inferno_r", vmin=0, vmax=most, origin="lower", interpolation="nearest"
        )
        panel.set_title(f"{name} = {middle}")
        panel.set_axis_off()
    figure.colorbar(shown, ax=panels, label="distance of the boundary (um)", shrink=0.8)
    return figure


def _edges(section: np.ndarray) -> np.ndarray:
    """Pixels whose right or upper neighbour is of another grain."""
    edge = np.zeros(section.shape, bool)
    edge[:, :-1] |= section[:, :-1] != section[:, 1:]
    edge[:-1] |= section[:-1] != section[1:]
    return edge
