"""What Compare is asked for and what it answers; no Qt here, and nothing of the viewer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ...background.stored_median import StoredMedian
from ...evaluation.comparison import Segmentation
from ...scan.scan import Scan
from ...spots.binarisation import BinaryFrames
from ...spots.log_routine import RoutineFrames, RoutineJob, RoutineSettings
from ...spots.matching import Match

Line = tuple[tuple[float, float], tuple[float, float]]
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Source:
    """One thing that A or B can be.

    Parameters
    ----------
    key : str
        Tells it from the others for as long as the dock lives.
    name : str
    kind : str
        A key of `layers.STYLES`, or empty.
    segmentation : Segmentation, optional
        None for the live routine, whose masks depend on the sliders.
    done : callable, optional
        Gives which projections exist, bool ``(n,)``; all if not given.
    """

    key: str
    name: str
    segmentation: Segmentation | None = None
    done: Callable[[], np.ndarray] | None = field(default=None, compare=False)
    kind: str = ""

    @property
    def live(self) -> bool:
        return self.segmentation is None

    def state(self, settings: RoutineSettings) -> tuple[str, str]:
        """Equal as long as the masks are the same: what numbers of them depend on."""
        made = settings.to_dict() if self.segmentation is None else self.segmentation.recipe
        return self.key, json.dumps(made, sort_keys=True, default=str)

    def fixed(
        self, scan: Scan, settings: RoutineSettings, median: StoredMedian | None = None
    ) -> Segmentation:
        """The masks of the whole scan as they are now, with their recipe."""
        known = self.segmentation
        if known is None:
            masks = RoutineFrames(scan, settings, median)
            return Segmentation("standard routine", masks, RoutineJob(scan, settings).recipe())
        if isinstance(known.masks, BinaryFrames):  # a slider may cut it anew at any time
            masks = BinaryFrames(known.masks.cleaned, known.masks.settings)
            return replace(known, masks=masks)
        return known


ROUTINE = Source("routine", "routine (live)")


@dataclass(frozen=True)
class Request:
    """What is to be seen: one projection, two sources, the routine's parameters."""

    scan: Scan
    index: int
    a: Source
    b: Source
    routine: RoutineSettings
    window: Window | None = None
    line: Line | None = None
    line_width_px: int = 1
    grain: int | None = None


@dataclass(frozen=True)
class FrameView:
    """One projection seen by A and B: all that the views show.

    Parameters
    ----------
    request : Request
    match : Match, optional
        None while only the window on the screen is computed.
    images : dict
        ``a``, ``b`` (0 or 1), ``residual_a``, ``residual_b`` (counts), ``agreement``.
    sigma : float
        Noise of the corrected projection, counts.
    profile : dict
        Curves of the line, empty if there is none.
    note : str
    spots : structured array, optional
        Where the chosen grain should be seen, rows of `measured.PREDICTION_DTYPE`.
    covered : (int, int)
        How many of those A and B have.
    """

    request: Request
    match: Match | None
    images: dict[str, np.ndarray]
    sigma: float
    profile: dict[str, np.ndarray] = field(default_factory=dict)
    note: str = ""
    spots: np.ndarray | None = None
    covered: tuple[int, int] = (0, 0)
