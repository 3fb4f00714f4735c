"""How wide the spots of a scan are, and the binning that brings them to a width networks know.

Networks learn on spots up to about 20 px wide, over background and noise measured on blocks little
wider than that.  Spots of 50 px they break up, and a block narrower than a spot takes it for
background.  So such projections are binned first; the blocks then are wider by the same factor
(``docs/model.md`` has the measurements behind the rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
# A source does not halve or double; such a frame is a blank, or of another exposure.
OFF_BRIGHTNESS = 2.0
# What is always that much brighter than the frame is the direct beam or a dead module.
TOO_BRIGHT = 4.0
GLOW_BINS = 3  # around it


def suitable_binning(spot_width_px: float) -> int:
    """Edge of the squares of pixels that are averaged for spots of a width: 1, 2 or 4.

    Parameters
    ----------
    spot_width_px : float
        From `spot_width` or `scan_spot_width`.
    """
    return next(binning for binning, most in BINNINGS.items() if spot_width_px <= most)


@dataclass(frozen=True)
class SpotWidths:
    """How wide the spots of some projections are.

    Parameters
    ----------
    width_px : float
        Three quarters of all spot area belong to spots no wider; 0 if nothing can be said.
    of_frames : tuple of float
        The same for each projection that shows spots.
    """

    width_px: float = 0.0
    of_frames: tuple[float, ...] = ()

    @property
    def agreed(self) -> bool:
        """Whether most projections ask for a binning if all together do."""
        wide = sum(suitable_binning(width) > 1 for width in self.of_frames)
        return suitable_binning(self.width_px) == 1 or 2 * wide > len(self.of_frames)


def scan_binning(scan: Scan) -> tuple[int, str]:
    """The binning for a scan, and a note if the projections disagree about it.

    Where a few projections ask for a binning, as many others are asked too.  The binning is 1
    unless most projections of both groups have wide spots: without it some wide spots may break
    up, with it all narrow ones are lost.

    Returns
    -------
    binning : int
    note : str
        Empty if the projections agree.
    """
    first = spot_widths(_frames(scan, _spread(scan.unique_frames)), scan.beam_stop_mask())
    binning = suitable_binning(first.width_px)
    if binning == 1:
        return 1, ""
    groups = [first]
    others = _spread_between(scan.unique_frames)
    if len(others) >= 3:
        groups.append(spot_widths(_frames(scan, others), scan.beam_stop_mask()))
    if all(g.agreed and suitable_binning(g.width_px) > 1 for g in groups):
        return binning, ""
    widths = [w for g in groups for w in g.of_frames]
    wide = sum(suitable_binning(w) > 1 for w in widths)
    return 1, (
        f"Only {wide} of {len(widths)} projections looked at have wide spots, so none is binned; "
        "set the binning yourself if the spots are wide."
    )


def scan_spot_width(scan: Scan) -> float:
    """`spot_width` of a scan; a projection that cannot be used is left to the run to tell of."""
    return spot_widths(_frames(scan, _spread(scan.unique_frames)), scan.beam_stop_mask()).width_px


def usual_frames(frames: Sequence[np.ndarray] | Scan) -> list[np.ndarray]:
    """A few projections spread over a scan or a stack, without those of another brightness."""
    if isinstance(frames, Scan):
        chosen = _frames(frames, _spread(frames.unique_frames))
    else:
        chosen = [frames[k] for k in _spread(len(frames))]
    like = _alike(np.array([np.median(frame[::4, ::4]) for frame in chosen]))
    return [frame for frame, usual in zip(chosen, like, strict=True) if usual]


def _frames(scan: Scan, indices: Sequence[int]) -> list[np.ndarray]:
    frames = []
    for index in indices:
        try:
            reading = scan.reading(index)
        except ScanError:
            continue
        if not reading.blank:
            frames.append(reading.image)
    return frames


def spot_width(frames: Sequence[np.ndarray], shadow: np.ndarray | None = None) -> float:
    """How wide the spots of a scan are, across their short side.

    Five projections spread over the scan are averaged in bins of `BIN_PX`, and the median of
    the others is the static background of each.  What stands out by 5 noise sigmas of a bin
    is a spot, or a crowd of spots that touch; its width is that of the largest circle in it.
    The shadow of the beam stop, the direct beam, dead or saturated areas and projections of
    another brightness do not count.

    Parameters
    ----------
    frames : sequence of ndarray (rows, cols)
        Projections of one scan, in order, counts.
    shadow : ndarray of bool (rows, cols), optional
        Where nothing counts, such as the beam stop.

    Returns
    -------
    float
        px: three quarters of all spot area belong to spots no wider. 0 without spots, and from
        fewer than three projections or a frame too small to tell spots from background.
    """
    return spot_widths([frames[k] for k in _spread(len(frames))], shadow).width_px


def spot_widths(frames: Sequence[np.ndarray], shadow: np.ndarray | None = None) -> SpotWidths:
    """The widths of the spots of all the given projections; see `spot_width`."""
    if len(frames) < 3 or min(frames[0].shape) < GROUND_BINS * BIN_PX:
        return SpotWidths()
    binned = np.stack([_binned(frame) for frame in frames])
    saturated = _always_saturated(frames)
    light = _light(np.where(saturated, np.nan, binned))
    like = _alike(light)
    if np.count_nonzero(like) < 3:
        return SpotWidths()
    binned = binned[like]
    outside, dead = _not_measured(binned, saturated, float(np.median(light[like])))
    if shadow is not None and shadow.any():
        outside = outside | (_binned(shadow) > 0)
    # Of the others: a frame of middling brightness is itself the median of all, nearly everywhere.
    found = []
    for k, frame in enumerate(binned):
        background = np.median(np.delete(binned, k, axis=0), axis=0)
        if dead.any():  # its steep edges would look like spots
            frame, background = (
                np.where(dead, np.median(x[~dead]), x) for x in (frame, background)
            )
        found.append(_widths(frame, background, outside))
    each = tuple(_usual(*parts) for parts in found if parts[0].size)
    together = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return SpotWidths(_usual(*together), each)


def _usual(widths: np.ndarray, areas: np.ndarray) -> float:
    """The width that three quarters of the area do not pass; 0 without any."""
    if not widths.size:
        return 0.0
    order = np.argsort(widths)
    part = np.cumsum(areas[order]) / areas.sum()
    return float(widths[order[np.searchsorted(part, NARROWER)]])


def _light(binned: np.ndarray) -> np.ndarray:
    """The level of each projection."""
    flat = binned.reshape(len(binned), -1)
    flat = flat[:, np.isfinite(flat).all(0)]
    return np.median(flat, axis=1) if flat.shape[1] else np.zeros(len(binned))


def _alike(light: np.ndarray) -> np.ndarray:
    """Which projections have the brightness of the most."""
    usual = np.median(light)
    if usual <= 0:
        return np.ones(len(light), bool)
    return (light * OFF_BRIGHTNESS > usual) & (light < usual * OFF_BRIGHTNESS)


def _always_saturated(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Bins with pixels that have the largest whole number of the type in most projections."""
    dtype = frames[0].dtype
    rows, cols = (n // BIN_PX for n in frames[0].shape)
    if dtype.kind not in "ui":
        return np.zeros((rows, cols), bool)
    full = sum((frame == np.iinfo(dtype).max).astype(np.uint8) for frame in frames)
    return _binned(2 * full > len(frames)) > 0


def _not_measured(
    binned: np.ndarray, saturated: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bins that do not count, and those of them that are too bright to be left as they are."""
    from scipy import ndimage as ndi

    still = np.ptp(binned, axis=0) == 0
    bright = np.median(binned, axis=0) > TOO_BRIGHT * max(level, 0.0)
    if level <= 0:
        bright = np.zeros_like(bright)
    # a single bin is a hot pixel, which the network is used to
    bright = ndi.binary_opening(bright | saturated, np.ones((2, 2))) | saturated
    if not bright.any():
        return still, bright
    bright = ndi.binary_dilation(bright, np.ones((3, 3)), iterations=GLOW_BINS)
    if bright.mean() > 0.5:  # nothing else is left to compare with
        return still, np.zeros_like(bright)
    return still | bright, bright


def _spread_between(count: int) -> list[int]:
    """Indices half way between those of `_spread`."""
    halves = {count * (2 * k + 1) // (2 * LOOKS) for k in range(LOOKS)}
    return sorted(halves - set(_spread(count)))


def _spread(count: int) -> list[int]:
    """At most `LOOKS` indices, evenly round a turn of `count` projections."""
    return [count * k // LOOKS for k in range(LOOKS)] if count > LOOKS else list(range(count))


def _binned(frame: np.ndarray) -> np.ndarray:
    """Means of whole bins, float32; what is left over at the edges is dropped."""
    rows, cols = (n // BIN_PX * BIN_PX for n in frame.shape)
    frame = np.asarray(frame, np.float32)[:rows, :cols]
    flat = sum(frame[k::BIN_PX] for k in range(BIN_PX))
    return sum(flat[:, k::BIN_PX] for k in range(BIN_PX)) / np.float32(BIN_PX**2)


def _widths(
    frame: np.ndarray, background: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Width (px) and area (bins) of everything that stands out of a binned projection."""
    from scipy import ndimage as ndi

    residual = normalise(frame, background, GROUND_BINS)[1]
    stands_out = (residual > np.arcsinh(STANDS_OUT / 2)) & ~outside
    labels, count = ndi.label(stands_out, np.ones((3, 3)))
    depth = ndi.distance_transform_edt(labels)
    radius = np.zeros(count + 1)
    np.maximum.at(radius, labels.ravel(), depth.ravel())
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    return (2 * radius[1:] - 1) * BIN_PX, areas[1:]
