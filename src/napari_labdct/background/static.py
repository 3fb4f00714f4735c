"""The static image of a scan: what all its projections share, and the noise around it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.errors import ScanError
from ..core.jobs import Progress
from ..core.robust import MAD_TO_SIGMA, mad
from ..scan.scan import Scan
from .steps import ExtractionSettings, fit_noise

#: Fewer projections than this leave parts of spots in every median.
FEWEST_FRAMES = 5
# Memory that the static image may take while it is made.
_STATIC_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class StaticImage:
    """What all projections of a scan share, and the noise around it.

    Parameters
    ----------
    image : float32 array (rows, cols)
        Median of projections brought to one brightness, counts; hot and dead pixels replaced.
    gain, offset : float
        Noise variance is ``gain * level + offset``.
    hot_pixels : int32 array (m, 2)
        Row and column of single pixels that stand out of every projection.
    edges : array (k + 1,)
        Grey levels that split the image into parts of equal size, for noise against level.
    """

    image: np.ndarray
    gain: float
    offset: float
    hot_pixels: np.ndarray
    edges: np.ndarray

    @cached_property
    def variance(self) -> np.ndarray:
        """Noise variance of each pixel, float32 ``(rows, cols)``."""
        level = np.maximum(self.image, 0)
        return np.float32(self.gain) * level + np.float32(max(self.offset, 1e-6))


def checked_frame(scan: Scan, index: int) -> np.ndarray:
    """A projection that shows something.

    Raises
    ------
    ScanError
        It is zero, or the same value, everywhere.
    """
    frame = scan.frame(index)
    low, high = frame.min(), frame.max()
    if low == high:
        what = "zero" if low == 0 else f"{low:g}"
        raise ScanError(
            f"Projection {index} of '{scan.name}' is {what} everywhere and holds no background; "
            "open the scan without it."
        )
    return frame


def brightness(frame: np.ndarray) -> float:
    """Typical grey level of a projection; spots cover too little of it to move its median."""
    thin = frame[::2, ::2]
    level = float(np.median(thin))
    return level if level > 0 else float(np.mean(thin))


def picked_frames(scan: Scan, settings: ExtractionSettings) -> np.ndarray:
    """Projections from all over the scan that the static image is made of.

    Raises
    ------
    ScanError
        The scan has too few projections.
    """
    n = scan.unique_frames
    if n < FEWEST_FRAMES:
        raise ScanError(
            f"'{scan.name}' has {n} projection{'s' if n > 1 else ''}; a background needs at "
            f"least {FEWEST_FRAMES}, better the {settings.window_frames} of the rolling median."
        )
    fits = int(_STATIC_BYTES // (2 * np.prod(scan.shape)))
    count = min(n, settings.static_frames, max(fits, 9))
    count -= 1 - count % 2
    return np.unique(np.linspace(0, n - 1, count).round().astype(int))


def static_image(
    scan: Scan,
    settings: ExtractionSettings,
    without_spots: Callable[[int], np.ndarray] | None = None,
) -> Generator[Progress, None, StaticImage]:
    """Median of projections from all over the scan; the generator returns it.

    Parameters
    ----------
    scan : Scan
    settings : ExtractionSettings
    without_spots : callable, optional
        Gives a projection at drift 1 with its spots filled; as they are if left out.

    Raises
    ------
    ScanError
        Too few projections, or one that is constant.
    """
    from scipy import ndimage as ndi

    from ..core import kernels

    picked = picked_frames(scan, settings)
    first = checked_frame(scan, int(picked[0]))
    unit = brightness(first)
    if unit <= 0:
        raise ScanError(f"'{scan.name}' has a mean grey level of {unit:g}; it holds no background.")
    # 16 bits for the brightest background there is; spots may be cut off.
    top = 1.5 * float(np.percentile(ndi.median_filter(first[::2, ::2], 3), 99.99))
    fine = 65000 / max(top, unit)
    ordered = np.empty((*scan.shape, len(picked)), np.uint16)
    for k, i in enumerate(picked):
        yield Progress(k, len(picked), "Static image")
        if without_spots is None:
            frame = checked_frame(scan, int(i)).astype(np.float32)
            frame *= fine * unit / max(brightness(frame), 1e-6)
        else:
            frame = without_spots(int(i)) * np.float32(fine)
        np.clip(frame, 0, 65535, out=frame)
        whole = np.rint(frame, out=frame).astype(np.uint16)
        kernels.in_row_blocks(kernels.insert_sorted, scan.shape[0], ordered, k, whole)
    median = np.empty(scan.shape, np.float32)
    kernels.in_row_blocks(kernels.middle, scan.shape[0], ordered, len(picked), median)
    del ordered
    median /= np.float32(fine)
    edges = np.quantile(median[::3, ::3], np.linspace(0, 1, 13))
    samples = []
    for i in picked[:: max(1, len(picked) // 5)]:
        frame = scan.frame(int(i)).astype(np.float32)
        frame -= np.float32(brightness(frame) / unit) * median
        samples.append(noise_by_level(frame, median, edges))
    levels, variances = np.median(samples, axis=0)
    # the projections are part of their own median
    gain, offset = fit_noise(levels, variances * (1 + 1.57 / len(picked)))
    offset = max(offset, 1e-6 * unit**2) if gain == 0 else offset
    return _without_noise(median, len(picked), gain, offset, edges, settings.static_detail)


def noise_by_level(
    difference: np.ndarray, level: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Robust variance of a difference in each class of grey level.

    Differences between neighbours, so that slow changes of brightness do not count; pixels that
    are NaN are left out.

    Returns
    -------
    levels, variances : array (k,)
    """
    step = max(1, int(np.sqrt(difference.size / 1e6)))
    rows = slice(None, None, step)
    # two pixels apart: neighbours may share light
    pairs = (difference[rows, 2:] - difference[rows, :-2])[:, ::step]
    at = level[rows, 1:-1][:, ::step]
    known = ~np.isnan(pairs)
    pairs, at = pairs[known], at[known]
    place = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    levels, variances = np.zeros((2, len(edges) - 1))
    for k in range(len(edges) - 1):
        mine = place == k
        if mine.sum() > 50:
            levels[k] = np.median(at[mine])
            variances[k] = (MAD_TO_SIGMA * mad(pairs[mine], 0)) ** 2 / 2
    return levels, variances


def _without_noise(
    median: np.ndarray, count: int, gain: float, offset: float, edges: np.ndarray, detail: float
) -> StaticImage:
    """Take out hot pixels, then the noise of a median of `count`, and leave its structure."""
    from scipy import ndimage as ndi

    sigma = np.sqrt(gain * np.maximum(median, 0) + offset) * 1.2533 / np.sqrt(count)
    around = np.ones((3, 3), bool)
    around[1, 1] = False
    # A streak goes on in two neighbours; a hot pixel stands alone, or with one other.
    second = ndi.rank_filter(median, -2, footprint=around)
    lowest = ndi.rank_filter(median, 1, footprint=around)
    hot = (median - second > 8 * sigma) | (lowest - median > 8 * sigma)
    clean = median.copy()
    clean[hot] = ndi.median_filter(median, 3)[hot]
    smooth = ndi.gaussian_filter(clean, 1.5, mode="nearest")
    structure = np.abs(clean - smooth) > detail * sigma
    image = np.where(structure, clean, smooth).astype(np.float32)
    return StaticImage(image, gain, offset, np.argwhere(hot).astype(np.int32), edges)
