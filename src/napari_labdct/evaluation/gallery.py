"""Pictures of what methods find, miss and invent on the test scans: best, typical, worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .benchmark import Method, projections_of
from .figures import CYAN, ORANGE, WHITE, contrast
from .metrics import Tally, Verdict, judge
from .phantoms import ScanRecipe, cached_scan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSED, PASSED_OVER = "#ff4d4d", "#8a949e"
WINDOW_PX = 240
#: Fewer true spots in a window say little.
ENOUGH_SPOTS = 6


@dataclass(frozen=True, eq=False)
class Window:
    """A part of a projection and how the methods did on it.

    Parameters
    ----------
    scan : str
    image : array (rows, cols)
        Projection less its rolling median, in noise units.
    verdicts : list of Verdict
        One a method.
    truth : int array (rows, cols)
        Labels of the true spots.
    counts : bool array
        Which true spots count, from 1; ``counts[0]`` is False.
    """

    scan: str
    image: np.ndarray
    verdicts: list[Verdict]
    truth: np.ndarray
    counts: np.ndarray

    @property
    def f1(self) -> list[float]:
        """F1 of every method."""
        tallies = [Tally() for _ in self.verdicts]
        for tally, verdict in zip(tallies, self.verdicts):
            tally.add(verdict)
        return [tally.score.f1 for tally in tallies]


def windows(methods: Sequence[Method], recipe: ScanRecipe, folder: str | Path) -> list[Window]:
    """The windows with enough spots of two projections of a test scan."""
    out = []
    for projection, truth in list(projections_of(cached_scan(recipe, folder)))[:2]:
        masks = [method.segment(projection) for method in methods]
        image = projection.in_noise()
        for row in range(0, image.shape[0] - WINDOW_PX + 1, WINDOW_PX):
            for col in range(0, image.shape[1] - WINDOW_PX + 1, WINDOW_PX):
                part = np.s_[row : row + WINDOW_PX, col : col + WINDOW_PX]
                here = truth.crop(part)
                if here.counts.sum() >= ENOUGH_SPOTS:
                    verdicts = [judge(mask[part], here) for mask in masks]
                    counts = np.concatenate([[False], here.counts])
                    out.append(Window(recipe.name, image[part], verdicts, here.labels, counts))
    return out


def picked(found: Sequence[Window]) -> dict[str, Window]:
    """The windows where the first method is best, typical and worst."""
    order = sorted(found, key=lambda w: w.f1[0])
    places = {"best": -1, "typical": len(order) // 2, "worst": 0}
    return {name: order[place] for name, place in places.items()} if order else {}


def draw(chosen: dict[str, Window], names: Sequence[str]) -> Figure:
    """One row a window: the residual, and the verdict on every method."""
    from matplotlib.figure import Figure

    columns = 1 + len(names)
    figure = Figure(
        figsize=(3.2 * columns, 3.4 * len(chosen)), dpi=110, layout="constrained",
        facecolor="#14181d",
    )  # fmt: skip
    axes = np.atleast_2d(figure.subplots(len(chosen), columns, squeeze=False))
    for row, (label, window) in zip(axes, chosen.items()):
        low, high = contrast(window.image)
        _show(row[0], window.image, low, high, f"{label}: {window.scan}")
        for axis, name, verdict, f1 in zip(row[1:], names, window.verdicts, window.f1):
            _show(axis, window.image, low, high, f"{name}, F1 {f1:.2f}")
            _outline(axis, np.isin(verdict.spots, verdict.false) & (verdict.spots > 0), ORANGE)
            hidden = (window.truth > 0) & ~window.counts[window.truth]
            _outline(axis, hidden, PASSED_OVER)
            _outline(axis, np.isin(window.truth, verdict.missed) & (window.truth > 0), MISSED)
            right = (verdict.spots > 0) & ~np.isin(verdict.spots, verdict.false)
            _outline(axis, right & ~np.isin(verdict.spots, verdict.excused), CYAN)
    figure.supxlabel(
        "blue: spots found    red: true spots missed    orange: false    "
        "grey: true spots too weak to count",
        color=WHITE, fontsize=8,
    )  # fmt: skip
    return figure


def _show(axis, image: np.ndarray, low: float, high: float, title: str) -> None:
    axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axis.set_title(title, color=WHITE, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def _outline(axis, mask: np.ndarray, colour: str) -> None:
    """The pixel edges of a mask, three times finer so that single pixels show."""
    if mask.any():
        rows, cols = mask.shape
        fine = np.kron(mask, np.ones((3, 3), np.float32))
        x, y = (np.arange(3 * n) / 3 - 1 / 3 for n in (cols, rows))
        axis.contour(x, y, fine, levels=[0.5], colors=[colour], linewidths=0.7)


def write_pictures(
    chosen: Callable[[ScanRecipe], Sequence[Method]],
    group: str,
    recipes: Sequence[ScanRecipe],
    folder: str | Path,
    output: str | Path,
) -> Path:
    """Best, typical and worst windows of a group of test scans as one PNG.

    `chosen` gives the methods for a scan, as `benchmark.evaluate` takes it.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    from ..core.files import atomic

    shown = [recipe for recipe in recipes if recipe.group == group]
    found = [window for recipe in shown for window in windows(chosen(recipe), recipe, folder)]
    names = [method.name for method in chosen(shown[0])]
    path = Path(output) / f"verdicts_{group.replace(' ', '_')}.png"
    with atomic(path) as part:
        draw(picked(found), names).savefig(part, format="png")
    return path
