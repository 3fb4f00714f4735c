"""How the source drifts: the brightness of a projection against its background."""

from __future__ import annotations

import numpy as np


def source_drift(frame: np.ndarray, background: np.ndarray) -> np.float32:
    """How much brighter a projection is than its rolling median: the ratio of their medians.

    Spots cover too little of a projection to move its median; every fourth pixel will do.
    """
    level = float(np.median(background[::2, ::2]))
    return np.float32(np.median(frame[::2, ::2]) / level if level > 0 else 1.0)
