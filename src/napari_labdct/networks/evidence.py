"""What a network says of a spot, held against the projection itself.

Amid many spots a network takes the crowd for evidence and calls bumps of the noise spots too
(``docs/model.md`` has the numbers).  Two things that it did not learn tell most of them: how far
the spot stands out of the noise (`spots.significance`), and that it is much smaller than the spots
of its scan.  A spot that fails is not erased: the output there is cut down to just below the
level at which it was judged, so that a lower threshold, or `tracking`, may still take it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..scan.scan import Scan
from ..spots.components import EIGHT, label_eight
from ..spots.log_routine import remove_cosmic_rays
from ..spots.significance import significance
from .normalisation import binned, normalise
from .spot_width import usual_frames

#: The smallest spot of a scan is so large, over the median area of its sure ones.
SMALLEST_PART = 0.17
SMALLEST_PX = 3
#: What a spot must stand out by, in sigmas: a scan of small spots loses more of them by asking for
#: more than it loses false ones. `USUAL_SIGMA` from that median area of the sure spots on.
SMALL_SPOTS_SIGMA, USUAL_SIGMA = 4.5, 5.0
SMALL_SPOTS_PX = 36
# Sure spots stand out so far after a Gaussian of one pixel, and are measured down to a part of
# their peak that is clear of the noise then.
_SURE_SIGMA = 10.0
_FOOT = 0.25
_FEWEST_SPOTS = 20
_FEWEST_PX = 128


@dataclass(frozen=True)
class Evidence:
    """What a spot must show to stay.

    Parameters
    ----------
    min_significance : float
        Noise sigmas in the bank of matched filters; 0 asks for nothing.
    smallest_px : int
        Pixels; 1 asks for nothing.
    threshold : int
        At which spots will be cut out, 2 to 255. Spots are judged there and at half of it.
    block_px : int
        Of `normalise`.
    """

    min_significance: float
    smallest_px: int
    threshold: int
    block_px: int = 32

    @property
    def asks(self) -> bool:
        """Whether anything is asked for."""
        return self.min_significance > 0 or self.smallest_px > 1

    def weigh(
        self, output: np.ndarray, frame: np.ndarray, median: np.ndarray | None, binning: int = 1
    ) -> np.ndarray:
        """The output of a network without what has no evidence, uint8 ``(rows, cols)``.

        As `weigh_seen`, for who has not normalised the projection yet.

        Parameters
        ----------
        output : uint8 array (rows, cols)
        frame : array (rows, cols)
            Counts.
        median : array (rows, cols) or None
            Rolling median; without it significance is not asked for, because lasting structure
            is significant, too.
        binning : int
            As for the network: of wide spots the significance is that of binned pixels.
        """
        residual = None
        if self.min_significance > 0 and median is not None:
            if binning > 1:
                frame, median = binned(frame, binning), binned(median, binning)
            residual = normalise(frame, median, self.block_px)[1]
        return self.weigh_seen(output, residual, binning)

    def weigh_seen(
        self, output: np.ndarray, residual: np.ndarray | None, binning: int = 1
    ) -> np.ndarray:
        """The output of a network without what has no evidence, uint8 ``(rows, cols)``.

        Parameters
        ----------
        output : uint8 array (rows, cols)
        residual : array (rows, cols) or None
            Channel 1 of `normalise`, of binned pixels if there is a binning; None without a
            rolling median.
        binning : int
        """
        z = None
        if self.min_significance > 0 and residual is not None:
            z = 2 * np.sinh(residual)
        if z is None and self.smallest_px <= 1:
            return output
        levels = sorted({max(2, self.threshold // 2), self.threshold})
        output = output.copy()
        inside = np.flatnonzero(output >= levels[0])  # looking through a whole frame takes long
        for level in levels:
            inside = inside[output.ravel()[inside] >= level]
            self._cut_down(output, level, inside, z, binning)
        return output

    def _cut_down(self, output, level: int, inside: np.ndarray, z, binning: int) -> None:
        """Cut what fails at a level down to just below it, in place."""
        labels, count = label_eight(output >= level)
        own = labels.ravel()[inside]
        good = np.bincount(own, minlength=count + 1) >= self.smallest_px
        if z is not None:
            seen = inside
            if binning > 1:
                middle = binning // 2
                labels = labels[middle::binning, middle::binning]
                part = tuple(map(slice, np.minimum(labels.shape, z.shape)))
                labels, z, seen = labels[part], z[part], None
            heights = significance(z, labels, self.min_significance, count, seen)
            good[1:] &= heights >= self.min_significance
        output.ravel()[inside[~good[own]]] = level - 1


def smallest_spot(area_px: float) -> int:
    """Pixels of the smallest spot of a scan whose sure spots have a median area; see `spot_area`.

    Where no area is known (0) it is 1: everything may be a spot.
    """
    return max(SMALLEST_PX, round(SMALLEST_PART * area_px)) if area_px > 0 else 1


def least_significance(area_px: float) -> float:
    """Noise sigmas that a spot must show in a scan whose sure spots have a median area.

    See `spot_area`; where no area is known (0) it is the usual one.
    """
    return SMALL_SPOTS_SIGMA if 0 < area_px < SMALL_SPOTS_PX else USUAL_SIGMA


def spot_area(frames: Sequence[np.ndarray] | Scan) -> float:
    """Median area of the spots of a scan that nobody can doubt.

    At most five projections, spread over the scan, less the median of the others, without cosmic
    rays, in noise sigmas, after a Gaussian of one pixel: what stands out by 10 sigma then,
    down to a quarter of its peak.

    Parameters
    ----------
    frames : sequence of ndarray (rows, cols), or Scan
        Counts.

    Returns
    -------
    float
        px; 0 from fewer than three projections, from small frames, and where sure spots are few.
    """
    from scipy import ndimage as ndi

    frames = usual_frames(frames)
    if len(frames) < 3 or min(frames[0].shape) < _FEWEST_PX:
        return 0.0
    stack, areas = np.stack(frames), []
    gain = np.float32(2 * np.sqrt(np.pi))  # white noise keeps sigma 1
    for k, frame in enumerate(stack):
        median = np.median(np.delete(stack, k, axis=0), axis=0).astype(np.float32)
        z = remove_cosmic_rays(2 * np.sinh(normalise(frame, median)[1]))
        smooth = gain * ndi.gaussian_filter(z, 1.0)
        labels, count = ndi.label(smooth > 3, EIGHT)
        peak = np.full(count + 1, np.inf, np.float32)
        peak[1:] = ndi.maximum(smooth, labels, np.arange(1, count + 1)) if count else []
        inside = smooth >= _FOOT * peak[labels]
        area = np.bincount(labels[inside], minlength=count + 1)
        areas.append(area[1:][peak[1:] > _SURE_SIGMA])
    found = np.concatenate(areas)
    return float(np.median(found)) if found.size >= _FEWEST_SPOTS else 0.0
