"""Block-wise median and noise of a projection, interpolated to every pixel."""

from __future__ import annotations

import numpy as np

from ..core.robust import MAD_TO_SIGMA

# The median of so many pixels is known to a ten thousandth of the level: enough for the drift.
#: Pixels enough for a median.
ENOUGH_PX = 1 << 19


def block_median(
    values: np.ndarray, valid: np.ndarray | None = None, block_px: int = 32
) -> np.ndarray:
    """Median over square blocks, interpolated back to every pixel, float32 ``(rows, cols)``.

    Parameters
    ----------
    values : array (rows, cols)
    valid : bool array (rows, cols), optional
        Pixels that count; a block with hardly any takes the median of the whole image.
    block_px : int
        Edge of a block.
    """
    from ..core import block_kernels as spot_kernels
    from ..core import kernels

    values = np.asarray(values)
    valid = np.ones(values.shape, bool) if valid is None else valid
    edges = _block_edges(values.shape, block_px)
    coarse = np.empty([e.size - 1 for e in edges], np.float32)
    kernels.in_row_blocks(
        spot_kernels.block_medians, values.shape[0], values, valid, *edges, coarse
    )
    empty = np.isnan(coarse)
    if empty.any():
        coarse[empty] = np.median(values[valid]) if valid.any() else np.median(values)
    return _spread(coarse, values.shape)


def _block_edges(shape: tuple[int, int], block_px: int) -> list[np.ndarray]:
    return [np.linspace(0, n, max(1, round(n / block_px)) + 1).astype(int) for n in shape]


def _weights(at: np.ndarray, n: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower block and weight of the upper one for linear interpolation between block centres."""
    where = np.clip((at + 0.5) / n * blocks - 0.5, 0, blocks - 1)
    low = np.minimum(where.astype(int), max(0, blocks - 2))
    return low, (where - low).astype(np.float32)


def _spread(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Linear interpolation of block values to every pixel, constant beyond the outer centres."""
    from ..core import block_kernels, kernels

    places = [_weights(np.arange(n), n, blocks) for n, blocks in zip(shape, coarse.shape)]
    out = np.empty(shape, np.float32)
    coarse = np.ascontiguousarray(coarse)
    kernels.in_row_blocks(
        block_kernels.spread_blocks, shape[0], coarse, *places[0], *places[1], out
    )
    return out


def _at_points(
    coarse: np.ndarray, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """`_spread` at some pixels only."""
    r, wr = _weights(rows, shape[0], coarse.shape[0])
    c, wc = _weights(cols, shape[1], coarse.shape[1])
    r1, c1 = np.minimum(r + 1, coarse.shape[0] - 1), np.minimum(c + 1, coarse.shape[1] - 1)
    upper = coarse[r, c] + (coarse[r, c1] - coarse[r, c]) * wc
    lower = coarse[r1, c] + (coarse[r1, c1] - coarse[r1, c]) * wc
    return upper + (lower - upper) * wr


def noise_map(frame: np.ndarray, background: np.ndarray, block_px: int = 32) -> np.ndarray:
    """Local noise sigma of a projection, counts, ``(rows, cols)``.

    From the median absolute difference of horizontal neighbours of ``frame - background`` in
    blocks, so that neither spots nor gradients count.

    Parameters
    ----------
    frame, background : arrays (rows, cols)
    block_px : int
        Edge of a block.
    """
    frame = np.asarray(frame)
    return _spread(_block_noise(frame, background, 1.0, block_px), frame.shape)


def _block_noise(
    frame: np.ndarray, background: np.ndarray, drift: float, block_px: int = 32
) -> np.ndarray:
    """Noise sigma of each block of ``frame - drift * background``."""
    from ..core import block_kernels as spot_kernels
    from ..core import kernels

    edges = _block_edges(frame.shape, block_px)
    coarse = np.empty([e.size - 1 for e in edges], np.float32)
    frame, background = np.ascontiguousarray(frame), np.ascontiguousarray(background, np.float32)
    kernels.in_row_blocks(
        spot_kernels.block_differences,
        frame.shape[0],
        frame,
        background,
        np.float32(drift),
        *edges,
        coarse,
    )
    coarse *= np.float32(MAD_TO_SIGMA / np.sqrt(2))
    # integer frames of a few counts quantise the differences to nothing
    floor = 0.3 if frame.dtype.kind in "ui" else 1e-6
    return np.maximum(coarse, np.float32(floor))
