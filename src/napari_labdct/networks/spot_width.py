"""How wide the spots of a scan are, and the binning that brings them to a width networks know.

Networks learn on spots up to about 20 px wide, over background and noise measured on blocks little
wider than that.  Spots of 50 px they break up, and a block narrower than a spot takes it for
background.  So such projections are binned first; the blocks then are wider by the same factor
(``docs/model.md`` has the measurements behind the rule).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import ScanError
from ..scan.scan import Scan
from .normalisation import normalise

#: Up to which width of the spots, px, each binning is taken; above all of them the last one is.
BINNINGS = {1: 25.0, 2: 60.0, 4: np.inf}
#: Projections looked at.
LOOKS = 5
# The spots that matter are wider than a bin, cosmic rays and hot pixels are not.
BIN_PX = 4
GROUND_BINS = 32
STANDS_OUT = 5.0  # noise sigmas of a bin
NARROWER = 0.75


def suitable_binning(spot_width_px: float) -> int:
    """Edge of the squares of pixels that are averaged for spots of a width: 1, 2 or 4.

    Parameters
    ----------
    spot_width_px : float
        From `spot_width` or `scan_spot_width`.
    """
    return next(binning for binning, most in BINNINGS.items() if spot_width_px <= most)


def scan_spot_width(scan: Scan) -> float:
    """`spot_width` of a scan; a projection that cannot be used is left to the run to tell of."""
    frames = []
    for index in _spread(scan.unique_frames):
        try:
            frames.append(scan.frame(index))
        except ScanError:
            continue
    return spot_width(frames)


def spot_width(frames: Sequence[np.ndarray]) -> float:
    """How wide the spots of a scan are, across their short side.

    Five projections spread over the scan are averaged in bins of `BIN_PX`, and the median of
    the others is the static background of each.  What stands out by 5 noise sigmas of a bin
    is a spot, or a crowd of spots that touch; its width is that of the largest circle in it.

    Parameters
    ----------
    frames : sequence of ndarray (rows, cols)
        Projections of one scan, in order, counts.

    Returns
    -------
    float
        px: three quarters of all spot area belong to spots no wider. 0 without spots, and from
        fewer than three projections or a frame too small to tell spots from background.
    """
    chosen = [frames[index] for index in _spread(len(frames))]
    if len(chosen) < 3 or min(chosen[0].shape) < GROUND_BINS * BIN_PX:
        return 0.0
    binned = np.stack([_binned(frame) for frame in chosen])
    # Of the others: a frame of middling brightness is itself the median of all, nearly everywhere.
    found = [
        _widths(frame, np.median(np.delete(binned, k, axis=0), axis=0))
        for k, frame in enumerate(binned)
    ]
    widths, areas = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not widths.size:
        return 0.0
    order = np.argsort(widths)
    part = np.cumsum(areas[order]) / areas.sum()
    return float(widths[order[np.searchsorted(part, NARROWER)]])


def _spread(count: int) -> list[int]:
    """At most `LOOKS` indices, evenly round a turn of `count` projections."""
    return [count * k // LOOKS for k in range(LOOKS)] if count > LOOKS else list(range(count))


def _binned(frame: np.ndarray) -> np.ndarray:
    """Means of whole bins, float32; what is left over at the edges is dropped."""
    rows, cols = (n // BIN_PX * BIN_PX for n in frame.shape)
    frame = np.asarray(frame, np.float32)[:rows, :cols]
    flat = sum(frame[k::BIN_PX] for k in range(BIN_PX))
    return sum(flat[:, k::BIN_PX] for k in range(BIN_PX)) / np.float32(BIN_PX**2)


def _widths(frame: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width (px) and area (bins) of everything that stands out of a binned projection."""
    from scipy import ndimage as ndi

    residual = normalise(frame, background, GROUND_BINS)[1]
    labels, count = ndi.label(residual > np.arcsinh(STANDS_OUT / 2), np.ones((3, 3)))
    depth = ndi.distance_transform_edt(labels)
    radius = np.zeros(count + 1)
    np.maximum.at(radius, labels.ravel(), depth.ravel())
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    return (2 * radius[1:] - 1) * BIN_PX, areas[1:]
