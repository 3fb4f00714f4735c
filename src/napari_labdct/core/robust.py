"""Spread of numbers most of which are noise: a few spots among them do not move it."""

from __future__ import annotations

import numpy as np

#: Median absolute deviation to standard deviation, for a normal distribution.
MAD_TO_SIGMA = 1.4826


def mad(values: np.ndarray, centre: float | np.ndarray | None = None) -> np.floating:
    """Median absolute deviation, from the median if no centre is given."""
    return np.median(np.abs(values - (np.median(values) if centre is None else centre)))


def robust_sigma(values: np.ndarray, centre: float | None = None, floor: float = 0.0) -> float:
    """Standard deviation of the noise in `values`, and at least `floor`."""
    return max(MAD_TO_SIGMA * float(mad(values, centre)), floor)
