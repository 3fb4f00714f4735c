"""The steps of Appendix A as plain functions, and their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..core.parameters import Param, Settings

# Enclosed by Sobel edges and still a spot, as part of the projection.
_LARGEST_SPOT = 0.01


@dataclass(frozen=True, kw_only=True)
class ExtractionSettings(Settings):
    """Steps of Appendix A, with the paper's values."""

    job: ClassVar[str] = "background"

    window_frames: Annotated[
        int,
        Param(
            "Rolling median",
            "projections",
            3,
            361,
            2,
            "Sequential projections whose median takes away what filling left behind.",
        ),
    ] = 60
    sobel_threshold: Annotated[
        float,
        Param(
            "Sobel threshold",
            "sigma",
            2,
            100,
            0.5,
            "Steeper than this many standard deviations of the noise is a spot.",
        ),
    ] = 5.0
    dilation_radius_px: Annotated[
        int,
        Param("Dilation", "px", 0, 100, 1, "Radius of the disk by which the fill mask grows."),
    ] = 13
    smoothing_px: Annotated[
        float,
        Param("Smoothing", "px", 0, 32, 0.5, "SD of the Gaussian filter after filling."),
    ] = 2.0
    gaussian_size_px: Annotated[
        int,
        Param("Mask Gaussian, size", "px", 1, 31, 1, "Of the fill mask.", advanced=True),
    ] = 2
    gaussian_sd_px: Annotated[
        float,
        Param("Mask Gaussian, SD", "px", 0.1, 15, 0.1, "Of the fill mask.", advanced=True),
    ] = 1.0
    brightest_percent: Annotated[
        float,
        Param(
            "Cut at 1",
            "%",
            0,
            5,
            0.01,
            "Brightest part of a projection that is cut off at 1, so that a bright detector edge "
            "or streak does not darken all else; 0 divides by the plain maximum.",
            advanced=True,
        ),
    ] = 0.01
    static_frames: Annotated[
        int,
        Param(
            "Static image",
            "projections",
            5,
            99,
            2,
            "Projections from all over the scan whose median shows beam stop and streaks.",
            advanced=True,
        ),
    ] = 31
    static_detail: Annotated[
        float,
        Param(
            "Static detail",
            "sigma",
            0,
            20,
            0.5,
            "Fine structure of the static image is kept above this many standard deviations.",
            advanced=True,
        ),
    ] = 4.0


def spot_mask(difference: np.ndarray, variance: np.ndarray | float, threshold: float) -> np.ndarray:
    """Pixels of spots: Sobel filter, threshold, and what the edges enclose.

    Parameters
    ----------
    difference : float array (rows, cols)
        Projection minus the static image, counts.
    variance : float array (rows, cols), or float
        Noise variance, counts squared.
    threshold : float
        In standard deviations of what the noise gives in one direction of the Sobel filter.

    Returns
    -------
    bool array (rows, cols)
    """
    from ..core import kernels
    from . import kernels as own

    difference = np.ascontiguousarray(difference, np.float32)
    level = np.broadcast_to(np.asarray(variance, np.float32), difference.shape)
    mask = np.empty(difference.shape, bool)
    level = np.ascontiguousarray(level)
    # 12 is the sum of the squared Sobel weights
    scale, rows = 12.0 * threshold**2, difference.shape[0]
    kernels.in_row_blocks(own.steep, rows, difference, level, scale, mask)
    labels = np.empty(mask.shape, np.int32)
    count = kernels.label(~mask, False, labels)
    own.fill_enclosed(mask, labels, count, int(_LARGEST_SPOT * mask.size))
    return mask


def fill_mask(spots: np.ndarray, settings: ExtractionSettings) -> np.ndarray:
    """Neighbourhood of the spots: Gaussian filter, then dilation by a disk (Fig. 11c)."""
    from scipy import ndimage as ndi

    from ..core import kernels
    from . import kernels as own

    size, radius = settings.gaussian_size_px, settings.dilation_radius_px
    if size > 1:
        x = np.arange(size) - (size - 1) / 2
        curve = np.exp(-(x**2) / (2 * settings.gaussian_sd_px**2))
        curve /= curve.sum()
        soft = spots.astype(np.float32)
        for axis in (0, 1):
            soft = ndi.correlate1d(soft, curve, axis=axis, mode="constant")
        # What an 8-bit image would not round to zero.
        spots = soft > 0.5 / 255
    else:
        spots = np.ascontiguousarray(spots, bool)
    offsets = np.arange(radius + 1)
    widths = np.floor(np.sqrt(radius**2 - offsets**2)).astype(np.int16)
    distance = np.empty(spots.shape, np.int16)
    out = np.empty(spots.shape, bool)
    rows = spots.shape[0]
    kernels.in_row_blocks(own.close_to, rows, spots, radius, distance)
    kernels.in_row_blocks(own.within_disk, rows, distance, widths, out)
    return out


def fill_holes(values: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Fill what is not covered from its surroundings, smoothly, however large the hole.

    Averages are pushed to ever coarser grids until no hole is left, and pulled back into the
    holes.

    Parameters
    ----------
    values : float array (rows, cols)
        Any value where `part` is 0.
    part : float array (rows, cols)
        From 0 (hole) to 1 (known).

    Returns
    -------
    float32 array (rows, cols)
    """
    if values.size == 1 or part.min() >= 1:
        return values.astype(np.float32)
    pad = tuple((0, n % 2) for n in values.shape)
    known = np.pad((values * part).astype(np.float32), pad)
    weight = np.pad(part.astype(np.float32), pad)
    quarters = (known.shape[0] // 2, 2, known.shape[1] // 2, 2)
    weight_sum = weight.reshape(quarters).sum((1, 3))
    total = known.reshape(quarters).sum((1, 3))
    mean = np.divide(total, weight_sum, out=np.zeros_like(total), where=weight_sum > 0)
    coarse = fill_holes(mean, weight_sum / 4)
    filled = np.zeros(values.shape, np.float32)
    add_spread(filled, coarse, 2)
    return (values * part + filled * (1 - part)).astype(np.float32)


def add_spread(out: np.ndarray, cells: np.ndarray, pitch: int, factor: float = 1.0) -> None:
    """Add ``factor * cells``, interpolated from cells of `pitch` pixels, to float32 `out`."""
    from ..core import kernels
    from . import kernels as own

    cells = np.ascontiguousarray(cells, np.float32)
    kernels.in_row_blocks(own.add_spread, out.shape[0], cells, pitch, np.float32(factor), out)


def bin_cells(
    image: np.ndarray, pitch: int, mask: np.ndarray | None = None, part: np.ndarray | None = None
) -> np.ndarray:
    """Mean in cells of `pitch` pixels, outside `mask`, float32; `part` gets what is outside."""
    from ..core import kernels
    from . import kernels as own

    shape = tuple(-(-n // pitch) for n in image.shape)
    mask = np.zeros(image.shape, bool) if mask is None else mask
    part = np.empty(shape, np.float32) if part is None else part
    mean = np.empty(shape, np.float32)
    kernels.in_row_blocks(own.bin_free, shape[0], image, mask, pitch, mean, part)
    return mean


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image at another size, float32: means where it shrinks, bilinear where it grows."""
    for axis, n in enumerate(shape):
        old = image.shape[axis]
        if n == old:
            continue
        edges = np.arange(n + 1) * old / n
        if n < old:  # part of each old pixel that lies in each new one
            at = np.arange(old)
            part = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
            weight = np.maximum(part, 0) * n / old
        else:
            place = np.clip((edges[1:] + edges[:-1]) / 2 - 0.5, 0, old - 1)
            weight = np.maximum(1 - np.abs(place[:, None] - np.arange(old)), 0)
        image = np.moveaxis(np.tensordot(weight.astype(np.float32), image, (1, axis)), 0, axis)
    return np.ascontiguousarray(image, np.float32)


def fit_noise(levels: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """Noise variance as ``gain * level + offset``, neither below zero.

    Parameters
    ----------
    levels, variances : array (n,)
        Counts and counts squared; equal weights to equal relative errors.
    """
    levels, variances = np.asarray(levels, float), np.asarray(variances, float)
    known = variances > 0
    if not known.any():
        return 0.0, 0.0
    x, y = levels[known], variances[known]
    weight = 1 / y
    columns = np.column_stack([x, np.ones_like(x)]) * weight[:, None]
    gain, offset = np.linalg.lstsq(columns, y * weight, rcond=None)[0]
    if offset < 0 and (x > 0).any():
        gain, offset = np.sum(x * weight) / np.sum((x * weight) ** 2), 0.0
    if gain < 0:
        gain, offset = 0.0, float(np.median(y))
    return float(gain), float(offset)


def normalised(level: np.ndarray, brightest_percent: float) -> np.ndarray:
    """Divided by the maximum, 0 to 1, float32; see `ExtractionSettings`."""
    if brightest_percent > 0:
        top = float(np.percentile(level, 100 - brightest_percent))
    else:
        top = float(level.max())
    return np.clip(level / np.float32(max(top, 1e-12)), 0, 1)
