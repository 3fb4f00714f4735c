"""Suggest the four LoG parameters of the standard routine from the data itself.

Two stated criteria, both computed on a few windows of a few projections:

agreement
    With reference masks (accepted spots, or the network's): F1 of the routine's spots against
    them, plus a tenth of the pixel IoU so that the shapes decide between equals.
stability
    Without: a spot counts +1 if it is found again after half the noise was added once more, -1
    if it is not, and -2 for every spot found in the mirrored (sign-turned) projection, where
    there is nothing but noise.  What remains is divided by the spots' number at its best.

The search goes over one parameter after the other until none improves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..background.rolling_median import RollingMedian
from ..core.errors import SettingsError
from ..core.jobs import Progress
from ..core.robust import robust_sigma
from ..core.stacks import FrameStack
from ..scan.scan import Scan
from .log_routine import RoutineSettings, corrected, log_segment
from .matching import Score, match_spots

#: Values tried; the background value in noise sigmas.
GRID: dict[str, tuple[float, ...]] = {
    "background": (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5),
    "sigma_px": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 6.0),
    "percentage": (0, 5, 10, 15, 20, 30, 40, 50),
    "min_size_px": (1, 2, 3, 4, 5, 7, 10, 14, 20),
}
_START = {"background": 4, "sigma_px": 3, "percentage": 2, "min_size_px": 3}


@dataclass(frozen=True)
class Suggestion:
    """The best settings, and how good they are by the stated criterion.

    Parameters
    ----------
    settings : RoutineSettings
    criterion : str
        ``"agreement"`` or ``"stability"``.
    score, score_before : float
        Of `settings`, and of the settings that were given.
    sentence : str
        For the user.
    """

    settings: RoutineSettings
    criterion: str
    score: float
    score_before: float
    sentence: str


@dataclass(frozen=True)
class _Window:
    residual: np.ndarray
    noisier: np.ndarray
    exclude: np.ndarray
    reference: np.ndarray | None


def suggest(
    scan: Scan,
    settings: RoutineSettings,
    reference: Any = None,
    *,
    n_frames: int = 3,
    window_px: int = 384,
    first: int | None = None,
    median: Any = None,
) -> Iterator[Progress | Suggestion]:
    """Tune background value, Gaussian SD, percentage and minimum spot size.

    Parameters
    ----------
    scan : Scan
    settings : RoutineSettings
        The median window and the removal of cosmic rays are kept.
    reference : array-like (n, rows, cols), optional
        Masks of spots to agree with; the criterion is stability without them.
    n_frames : int
        Projections looked at.
    window_px : int
        Edge of the window in each of them, at a different place in each.
    first : int, optional
        A projection that must be among them, for example the one on the screen.
    median : optional
        Rolling median of the window with ``at``, such as a `medians.StoredMedian`.

    Yields
    ------
    Progress, and at the end one `Suggestion`

    Raises
    ------
    SettingsError
        The reference holds no spot where it is looked at.
    """
    steps = 2 * sum(len(v) for v in GRID.values())
    total = steps + n_frames
    yield Progress(0, total)
    if median is None and scan.n_frames >= 3:
        median = RollingMedian(scan, settings.median_window)
    windows: list[_Window] = []
    for window in _windows(scan, settings, median, reference, n_frames, window_px, first):
        windows.append(window)
        yield Progress(len(windows), total)
    noise = float(np.median([robust_sigma(w.residual, floor=1e-6) for w in windows]))
    if reference is not None and not any(np.any(w.reference) for w in windows):
        raise SettingsError(
            "The reference has no spots in the projections looked at; denoise them first, or "
            "suggest by stability."
        )
    judge = _agreement if reference is not None else _stability
    seen: dict[tuple[Any, ...], float] = {}

    def value(made: RoutineSettings) -> float:
        key = tuple(getattr(made, name) for name in GRID)
        if key not in seen:
            seen[key] = judge(windows, made)
        return seen[key]

    grid = {
        **GRID,
        "background": tuple(round(noise * k, 1 if noise > 2 else 4) for k in GRID["background"]),
    }
    before = value(settings)
    best = settings.replace(**{name: _cast(name, grid[name][k]) for name, k in _START.items()})
    top, done, improved = value(best), 0, True
    while improved and done < steps:
        improved = False
        for name in GRID:
            for candidate in grid[name]:
                tried = best.replace(**{name: _cast(name, candidate)})
                found = value(tried)
                if found > top + 1e-9:
                    best, top, improved = tried, found, True
                done += 1
                yield Progress(min(n_frames + done, total - 1), total)
    if before > top:
        best, top = settings, before
    criterion = "agreement" if reference is not None else "stability"
    yield Progress(total, total)
    yield Suggestion(best, criterion, top, before, _sentence(criterion, top, before, len(windows)))


def _sentence(criterion: str, score: float, before: float, count: int) -> str:
    what = {
        "agreement": "agreement with the reference spots (F1 + IoU/10)",
        "stability": "stable spots less doubtful ones, a window",
    }[criterion]
    return f"Best {what} over {count} windows: {score:.3g}, before {before:.3g}."


def _cast(name: str, value: float) -> float | int:
    return int(value) if name == "min_size_px" else float(value)


def _windows(
    scan: Scan,
    settings: RoutineSettings,
    median: Any,
    reference: FrameStack | None,
    n_frames: int,
    window_px: int,
    first: int | None,
) -> Iterator[_Window]:
    """Square pieces of residuals, each projection's at another place round the centre."""
    count = min(n_frames, scan.n_frames)
    picked = {int(i) for i in np.linspace(0, scan.n_frames - 1, count + 2)[1:-1].round()}
    if first is not None:
        picked = {first, *sorted(picked - {first})[: count - 1]}
    random = np.random.default_rng(0)
    stop = scan.hidden()
    for k, index in enumerate(sorted(picked)):
        frame = scan.frame(index).astype(np.float32)
        ground = np.full_like(frame, np.median(frame)) if median is None else median.at(index)
        residual = corrected(frame, ground, settings)
        angle = 2 * np.pi * k / len(picked) + 0.8
        part = tuple(
            _span(n, window_px, n / 2 + 0.27 * n * f)
            for n, f in zip(scan.shape, (np.sin(angle), np.cos(angle)))
        )
        piece = residual[part]
        noisier = piece + random.normal(
            0, 0.5 * robust_sigma(piece, floor=1e-6), piece.shape
        ).astype(np.float32)
        wanted = None if reference is None else np.asarray(reference[index])[part] > 0
        yield _Window(piece, noisier, stop[part], wanted)


def _span(size: int, window: int, centre: float) -> slice:
    window = min(window, size)
    start = int(np.clip(round(centre - window / 2), 0, size - window))
    return slice(start, start + window)


Judge = Callable[[list[_Window], RoutineSettings], float]


def _agreement(windows: list[_Window], settings: RoutineSettings) -> float:
    score = Score()
    for w in windows:
        score += match_spots(log_segment(w.residual, settings, w.exclude), np.asarray(w.reference))
    if not score.spots_a:
        return 0.0
    return score.f1 + 0.1 * score.pixel_iou


def _stability(windows: list[_Window], settings: RoutineSettings) -> float:
    total = 0.0
    for w in windows:
        mask = log_segment(w.residual, settings, w.exclude)
        again = log_segment(w.noisier, settings, w.exclude)
        match = match_spots(mask, again)
        mirrored = match_spots(log_segment(-w.residual, settings, w.exclude), again).n_a
        total += 2 * match.found - match.n_a - 2 * mirrored
    return total / len(windows)
