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

import numpy as np

from ..core.robust import MAD_TO_SIGMA

# From the median |difference| of two pixels to the sigma of one.
PAIR_MAD_TO_SIGMA = MAD_TO_SIGMA / np.sqrt(2.0)
# A block without noise (a beam stop at 0) borrows this part of the frame's typical noise, so
# that the penumbra's few counts are not blown up.
SIGMA_FLOOR = 0.15
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
    x = np.asarray(frame, np.float32)
    out = np.zeros((2, *x.shape), np.float32)
    background = _block_median(x, block_px)
    z = x - _spread(background, x.shape, block_px)
    if median is None:
        sigma = _spread(_noise(z, block_px, frame.dtype), x.shape, block_px)
    else:
        m = np.asarray(median, np.float32)
        d = (
            x
            - _spread(_intensity_ratio(background, _block_median(m, block_px)), x.shape, block_px)
            * m
        )
        d -= _spread(_block_median(d, block_px, row_step=2), x.shape, block_px)
        sigma = _spread(_noise(d, block_px, frame.dtype), x.shape, block_px)
        _squash(d, sigma, out[1])
    _squash(z, sigma, out[0])
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


def _squash(deviation: np.ndarray, sigma: np.ndarray, out: np.ndarray) -> None:
    np.divide(deviation, 2 * sigma, out=out)
    np.arcsinh(out, out=out)


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
    differences = np.zeros_like(deviation)
    if deviation.shape[1] > 1:
        np.subtract(deviation[:, 1:], deviation[:, :-1], out=differences[:, 1:])
        differences[:, 0] = differences[:, 1]
    np.abs(differences, out=differences)
    blocks = _blocks(differences, block_px, row_step=2)
    sigma = PAIR_MAD_TO_SIGMA * _middle(blocks)
    floor = QUANTISATION_SIGMA if np.issubdtype(dtype, np.integer) else 0.0
    # Mean of |difference| clipped at 3 of its sigmas, over that of a normal distribution.
    clip = np.maximum(3 * np.sqrt(2) * sigma, 2 * floor)
    np.minimum(blocks, clip[..., None], out=blocks)
    sigma = blocks.mean(-1) / (np.sqrt(2) * 0.7971)
    sigma = _smooth(sigma)
    bright = sigma[sigma > 0]
    typical = float(np.median(bright)) if bright.size else 0.0
    floor = max(floor, SIGMA_FLOOR * typical)
    return np.maximum(sigma, floor if floor > 0 else 1.0).astype(np.float32)


def _blocks(image: np.ndarray, block_px: int, row_step: int = 1) -> np.ndarray:
    """The image as (block rows, block cols, pixels); edges are mirrored to fill the last ones."""
    rows, cols = image.shape
    pad = (-rows % block_px, -cols % block_px)
    if any(pad):
        image = np.pad(image, ((0, pad[0]), (0, pad[1])), mode="symmetric")
    image = image[::row_step]
    height = max(block_px // row_step, 1)
    tall, wide = image.shape[0] // height, image.shape[1] // block_px
    blocks = image.reshape(tall, height, wide, block_px).swapaxes(1, 2)
    return np.ascontiguousarray(blocks).reshape(tall, wide, height * block_px)


def _middle(blocks: np.ndarray) -> np.ndarray:
    """Upper median along the last axis (half as costly as the mean of the middle two)."""
    half = blocks.shape[-1] // 2
    return np.partition(blocks, half, axis=-1)[..., half]


def _block_median(image: np.ndarray, block_px: int, row_step: int = 1) -> np.ndarray:
    return _smooth(_middle(_blocks(image, block_px, row_step)))


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


def interpolation_weights(n_pixels: int, n_blocks: int, block_px: int) -> np.ndarray:
    """Weights (pixels, blocks) of linear interpolation, level beyond the outer centres."""
    place = (np.arange(n_pixels) + 0.5) / block_px - 0.5
    place = np.clip(place, 0, n_blocks - 1)
    low = np.minimum(place.astype(int), max(n_blocks - 2, 0))
    part = (place - low).astype(np.float32)
    weights = np.zeros((n_pixels, n_blocks), np.float32)
    weights[np.arange(n_pixels), low] = 1 - part
    if n_blocks > 1:
        weights[np.arange(n_pixels), low + 1] = part
    return weights
