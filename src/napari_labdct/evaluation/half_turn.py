"""Half a turn later: a check of spots that needs no truth.

The planes that reflect a white beam at one angle reflect it half a turn later from their other
side, with the same energy and strength.  With the rotation axis along the rows and the beam
across it, that reflection lies at the same column and mirrored in the row of the beam; a
grain off the axes shifts it by a few pixels, which in the far field is little.  So
of the true spots of a full turn many strong ones have such a partner; of invented ones no more
than chance puts there.  The chance is measured with places moved aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import ScanError
from ..scan.scan import Scan

#: Distance within which a spot counts as the partner.
NEAR_PX = 8.0
_BESIDE_PX = ((31, 37), (-37, 31), (-31, -37), (37, -31))


@dataclass(frozen=True)
class Partners:
    """Spots that were looked for half a turn later.

    Parameters
    ----------
    looked : int
        Spots whose partner would be on the detector.
    found : float
        Part of them that has one.
    chance : float
        The same for places moved aside.
    """

    looked: int
    found: float
    chance: float


def opposite_frames(omega_deg: np.ndarray) -> dict[int, int]:
    """The projection half a turn from each, where there is one within half a step."""
    omega = np.asarray(omega_deg, float)
    if omega.size < 2:
        return {}
    step = np.median(np.abs(np.diff(omega)))
    away = np.abs((omega[None, :] - omega[:, None] - 180 + 180) % 360 - 180)
    nearest = away.argmin(axis=1)
    return {i: int(j) for i, j in enumerate(nearest) if away[i, j] <= 0.25 * step}


def partners(scan: Scan, places: Sequence[np.ndarray], which: Sequence[np.ndarray]) -> Partners:
    """How many spots come back half a turn later.

    Parameters
    ----------
    scan : Scan
        With angles and geometry.
    places : sequence of arrays (n, 2)
        Row and column of every spot of each projection.
    which : sequence of bool arrays (n,)
        The spots that are looked for; partners may be any.

    Raises
    ------
    ScanError
        No projection has one half a turn later.
    """
    from scipy.spatial import cKDTree

    if scan.omega_deg is None:
        raise ScanError(
            f"The rotation angles of '{scan.name}' are not known; enter them in scan.yaml."
        )
    opposite = opposite_frames(scan.omega_deg)
    if not opposite:
        raise ScanError(
            f"No projection of '{scan.name}' has another half a turn away; the test needs a full "
            "turn."
        )
    middle = scan.geometry().detector_center_px[0]
    rows, cols = scan.shape
    looked, found, beside = 0, 0, 0
    for index, other in opposite.items():
        asked = np.asarray(places[index], float).reshape(-1, 2)[np.asarray(which[index], bool)]
        mirrored = np.column_stack([2 * middle - asked[:, 0], asked[:, 1]])
        mirrored = mirrored[(mirrored >= 0).all(1) & (mirrored < (rows, cols)).all(1)]
        looked += len(mirrored)
        there = np.asarray(places[other], float).reshape(-1, 2)
        if not len(there) or not len(mirrored):
            continue
        tree = cKDTree(there)
        found += int((tree.query(mirrored)[0] <= NEAR_PX).sum())
        beside += sum(
            int((tree.query(mirrored + aside)[0] <= NEAR_PX).sum()) for aside in _BESIDE_PX
        )
    many = max(looked, 1)
    return Partners(looked, found / many, beside / len(_BESIDE_PX) / many)
