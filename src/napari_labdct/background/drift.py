"""How the source drifts: the brightness of a projection against its background."""

from __future__ import annotations

import numpy as np

from .noise import ENOUGH_PX


def source_drift(
    frame: np.ndarray, background: np.ndarray, outside: np.ndarray | None = None
) -> float:
    """How much brighter a projection is than its rolling median: the ratio of their medians.

    Parameters
    ----------
    frame, background : array (rows, cols)
    outside : bool array (rows, cols), optional
        The pixels that are no spots, where they are known. Spots that cover a few per cent of a
        projection hardly move its median, so every fourth pixel will do without it.

    Returns
    -------
    float
        1 where nothing tells: no light, or no pixel outside the spots.
    """
    if outside is None:
        frame, background = frame[::2, ::2], background[::2, ::2]
    else:
        step = max(1, frame.size // ENOUGH_PX)
        outside = outside[::step]
        frame, background = frame[::step][outside], background[::step][outside]
    if not frame.size:
        return 1.0
    level = float(np.median(background))
    return float(np.median(frame)) / level if level > 0 else 1.0
