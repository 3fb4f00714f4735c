"""From detector counts to noise units: the two channels every network here sees.

Channel 0 says what the frame looks like, ``z = asinh((x - b) / sigma / 2)`` with the local
background b.  Channel 1 says what is new in it, ``r = asinh(d / sigma / 2)``, where d is the
frame minus the scan's rolling median M, scaled to the frame's own source intensity:
``d = x - q M`` less its own local background.  The static structure that looks so much
like spots (streaks, columns, hot pixels) cancels in d, and so sigma is measured there.

Both are unchanged when the detector's gain or offset changes.  Training and inference
call the same function.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..core.robust import MAD_TO_SIGMA

# From the median |difference| of two pixels to the sigma of one.
PAIR_MAD_TO_SIGMA = MAD_TO_SIGMA / np.sqrt(2.0)
# A block without noise (a beam stop at 0) borrows this part of the frame's typical noise, so
# that the penumbra's few counts are not blown up.
SIGMA_FLOOR = 0.15
_BAND_ROWS = 128  # worked on together
QUANTISATION_SIGMA = 0.29  # of whole counts, 1/sqrt(12)


def normalise(
    frame: np.ndarray, median: np.ndarray | None = None, block_px: int = 32
) -> np.ndarray:
    """Bring a frame and its rolling median to noise units.

    Parameters
    ----------
    frame : ndarray, shape (rows, cols)
        Detector counts of any integer or float type, finite.
    median : ndarray, shape (rows, cols), optional
        Rolling median of the scan at this frame. Without it channel 1 is zero.
    block_px : int
        Side of the blocks on which background and noise are measured, in pixels. It should
        be wider than a spot; a model stores the one it was trained with.

    Returns
    -------
    ndarray, shape (2, rows, cols), float32
        ``z`` and ``r`` as described above.
    """
    from . import normalisation_kernels as kernels

    frame = np.asarray(frame)
    shape = frame.shape
    out = np.empty((2, *shape), np.float32)
    z, d = out
    background = _block_median(frame, block_px)
    kernels.subtract(frame, *_halfway(background, shape, block_px), z)
    if median is None:
        sigma = _noise(z, block_px, frame.dtype)
        d[:] = 0
    else:
        median = np.asarray(median)
        ratio = _intensity_ratio(background, _block_median(median, block_px))
        kernels.subtract_scaled(frame, *_halfway(ratio, shape, block_px), median, d)
        ground = _block_median(d, block_px, row_step=2)
        kernels.subtract(d, *_halfway(ground, shape, block_px), d)
        sigma = _noise(d, block_px, frame.dtype)
    seen = out[:1] if median is None else out
    spread_sigma = _halfway(sigma, shape, block_px)
    for row in range(0, shape[0], _BAND_ROWS):
        part = seen[:, row : row + _BAND_ROWS]
        kernels.divide(part, row, *spread_sigma)
        np.arcsinh(part, out=part)
    return out


def binned(image: np.ndarray, binning: int) -> np.ndarray:
    """Means of squares of ``binning`` px, float32; at the far edges of what is left there."""
    image = np.asarray(image, np.float32)
    pad = [(0, -n % binning) for n in image.shape]
    image = np.pad(image, pad, mode="symmetric")
    flat = sum(image[k::binning] for k in range(binning))
    return sum(flat[:, k::binning] for k in range(binning)) / np.float32(binning**2)


def spread(image: np.ndarray, binning: int) -> np.ndarray:
    """The opposite of `binned`: linear between the centres of the squares."""
    return _spread(image, tuple(binning * n for n in image.shape), binning)


def _intensity_ratio(background: np.ndarray, of_median: np.ndarray) -> np.ndarray:
    """Source intensity of this frame over the median's, block by block; 1 in the dark.

    The ratio is taken where there is light; a source does not double from frame to frame, so
    anything beyond is not a ratio but an offset, which the background of d takes care of.
    """
    lit = (of_median > 0.02 * np.abs(of_median).max()) & (background > 0)
    ratio = np.where(lit, background, 1.0) / np.where(lit, of_median, 1.0)
    return _smooth(np.where((ratio > 0.5) & (ratio < 2.0), ratio, 1.0).astype(np.float32))


def _noise(deviation: np.ndarray, block_px: int, dtype: np.dtype) -> np.ndarray:
    """Noise sigma per block, from the differences of neighbours along a row, robustly.

    The median absolute difference alone would come in steps where sigma is about one count
    (8-bit frames), so it only sets the clip of a mean, which does not.
    """
    floor = QUANTISATION_SIGMA if np.issubdtype(dtype, np.integer) else 0.0
    grid = []
    for blocks in _blocks(deviation, block_px, row_step=2, differences=True):
        sigma = PAIR_MAD_TO_SIGMA * _middle(blocks)
        # Mean of |difference| clipped at 3 of its sigmas, over that of a normal distribution.
        clip = np.maximum(3 * np.sqrt(2) * sigma, 2 * floor)
        np.minimum(blocks, clip[..., None], out=blocks)
        grid.append(blocks.mean(-1) / (np.sqrt(2) * 0.7971))
    sigma = np.concatenate(grid)
    sigma = _smooth(sigma)
    bright = sigma[sigma > 0]
    typical = float(np.median(bright)) if bright.size else 0.0
    floor = max(floor, SIGMA_FLOOR * typical)
    return np.maximum(sigma, floor if floor > 0 else 1.0).astype(np.float32)


def _blocks(
    image: np.ndarray, block_px: int, row_step: int = 1, differences: bool = False
) -> Iterator[np.ndarray]:
    """The pixels of the image, or their differences, as (block rows, block cols, pixels).

    Edges are mirrored to fill the last blocks.  A few rows of blocks at a time, in memory that is
    used again for the next ones.
    """
    from . import normalisation_kernels as kernels

    rows, cols = (np.pad(np.arange(n), (0, -n % block_px), mode="symmetric") for n in image.shape)
    rows = rows[::row_step]
    height = max(block_px // row_step, 1)
    tall, wide = rows.size // height, cols.size // block_px
    step = min(tall, max(1, _BAND_ROWS // block_px))
    out = np.empty((step, wide, height * block_px), np.float32)
    for first in range(0, tall, step):
        part = out[: tall - first]
        here = rows[first * height :][: len(part) * height]
        kernels.blocks_of(image, here, cols, block_px, differences, part)
        yield part


def _middle(blocks: np.ndarray) -> np.ndarray:
    """Upper median along the last axis (half as costly as the mean of the middle two)."""
    half = blocks.shape[-1] // 2
    return np.partition(blocks, half, axis=-1)[..., half]


def _block_median(image: np.ndarray, block_px: int, row_step: int = 1) -> np.ndarray:
    return _smooth(np.concatenate([_middle(b) for b in _blocks(image, block_px, row_step)]))


def _smooth(grid: np.ndarray) -> np.ndarray:
    """Median of each block with its eight neighbours: one crowded block does not count."""
    padded = np.pad(grid, 1, mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.median(views, axis=(-2, -1)).astype(np.float32)


def _spread(grid: np.ndarray, shape: tuple[int, int], block_px: int) -> np.ndarray:
    """Bilinear interpolation from block centres to pixels, as two small matrix products."""
    down = interpolation_weights(shape[0], grid.shape[0], block_px)
    across = interpolation_weights(shape[1], grid.shape[1], block_px)
    return (down @ grid) @ across.T


def _halfway(
    grid: np.ndarray, shape: tuple[int, int], block_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid spread along the columns only, and how to go on along a row: see the kernels."""
    down = interpolation_weights(shape[0], grid.shape[0], block_px)
    low, part = _between(shape[1], grid.shape[1], block_px)
    return down @ grid, np.searchsorted(low, np.arange(grid.shape[1] + 1)), part


def _between(n_pixels: int, n_blocks: int, block_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The block whose centre is before each pixel, and the part of the next one."""
    place = (np.arange(n_pixels) + 0.5) / block_px - 0.5
    place = np.clip(place, 0, n_blocks - 1)
    low = np.minimum(place.astype(int), max(n_blocks - 2, 0))
    return low, (place - low).astype(np.float32)


def interpolation_weights(n_pixels: int, n_blocks: int, block_px: int) -> np.ndarray:
    """Weights (pixels, blocks) of linear interpolation, level beyond the outer centres."""
    low, part = _between(n_pixels, n_blocks, block_px)
    weights = np.zeros((n_pixels, n_blocks), np.float32)
    weights[np.arange(n_pixels), low] = 1 - part
    if n_blocks > 1:
        weights[np.arange(n_pixels), low + 1] = part
    return weights
