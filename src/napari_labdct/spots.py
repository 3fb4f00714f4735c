"""From cleaned projections to spots: binarise, measure, and the one definition of SNR.

SNR of a spot = mean(frame - local background) inside its mask / local noise sigma.
Detectability = SNR x sqrt(area).
Confidence of a spot = mean of the cleaned projection inside its mask, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from .io.tables import WORDS
from .parameters import Param, Settings
from .routine import EIGHT, RollingMedian, drop_small
from .scan import LazyStack

SPOT_DTYPE = np.dtype(
    [
        ("frame", "i4"),
        ("id", "i4"),
        ("omega_deg", "f4"),
        ("row", "f4"),
        ("col", "f4"),
        ("area_px", "i4"),
        ("area_um2", "f4"),
        ("row_min", "i4"),
        ("row_max", "i4"),
        ("col_min", "i4"),
        ("col_max", "i4"),
        ("length_px", "f4"),
        ("width_px", "f4"),
        ("orientation_deg", "f4"),
        ("peak", "f4"),
        ("sum", "f4"),
        ("background", "f4"),
        ("noise", "f4"),
        ("snr", "f4"),
        ("confidence", "f4"),
        ("found_by", "u1"),
        ("touches_edge", "?"),
        ("touches_beam_stop", "?"),
    ]
)

#: Meaning of the numbers in the column `found_by`.
UNKNOWN, NETWORK, ROUTINE, BOTH = range(4)
FOUND_BY = WORDS["found_by"]

# The median of so many pixels is known to a ten thousandth of the level: enough for the drift.
_ENOUGH_PX = 1 << 19


@dataclass(frozen=True, kw_only=True)
class SpotSettings(Settings):
    """How a cleaned projection is cut into spots."""

    job: ClassVar[str] = "binarise"

    threshold: Annotated[
        int,
        Param("Threshold", "of 255", 1, 255, 1, "Cleaned pixels at or above it are spot."),
    ] = 128
    min_size_px: Annotated[
        int, Param("Minimum spot size", "px", 1, 10000, 1, "Smaller spots are dropped.")
    ] = 3


def binarise(cleaned: np.ndarray, settings: SpotSettings) -> np.ndarray:
    """Spots of one cleaned projection.

    Parameters
    ----------
    cleaned : uint8 array (rows, cols)
        Output of `denoising`, 0 to 255.
    settings : SpotSettings

    Returns
    -------
    bool array (rows, cols)
    """
    return drop_small(np.asarray(cleaned) >= settings.threshold, settings.min_size_px)


def binary_recipe(made: dict[str, Any], settings: SpotSettings) -> dict[str, Any]:
    """What a file of masks is made of: the recipe of the cleaned stack, and how it was cut."""
    return {
        **made,
        "job": settings.job,  # nobody shall take it for the network's output
        "cleaned_by": made.get("job", ""),
        "spots": settings.to_dict(),
    }


class BinaryFrames(LazyStack):
    """The spots of a cleaned stack, cut when a frame is asked for (uint8, 0 or `value`).

    Change `settings` and read again: the network does not run a second time.
    """

    def __init__(self, cleaned, settings: SpotSettings, value: int = 255) -> None:
        super().__init__(cleaned.shape, np.uint8)
        self.cleaned = cleaned
        self.settings = settings
        self.value = value

    def read(self, index: int) -> np.ndarray:
        spot = binarise(np.asarray(self.cleaned[index]), self.settings)
        return spot.astype(np.uint8) * np.uint8(self.value)


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
    from . import kernels, spot_kernels

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
    full = coarse
    for axis in (0, 1):
        low, upper = _weights(np.arange(shape[axis]), shape[axis], coarse.shape[axis])
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        upper = upper[:, None] if axis == 0 else upper
        below = full.take(low, axis)
        full = below + (full.take(high, axis) - below) * upper
    return full.astype(np.float32, copy=False)


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
    from . import kernels, spot_kernels

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
    coarse *= np.float32(1.4826 / np.sqrt(2))
    # integer frames of a few counts quantise the differences to nothing
    floor = 0.3 if frame.dtype.kind in "ui" else 1e-6
    return np.maximum(coarse, np.float32(floor))


def measure(
    frame: np.ndarray,
    mask: np.ndarray,
    background: np.ndarray | None = None,
    *,
    index: int = 0,
    omega_deg: float = np.nan,
    beam_stop: np.ndarray | None = None,
    cleaned: np.ndarray | None = None,
    pixel_um: float | None = None,
) -> np.ndarray:
    """Measure the spots of one projection.

    Parameters
    ----------
    frame : array (rows, cols)
        The projection as recorded.
    mask : array (rows, cols)
        Its spots: a mask (bool or uint8; 8-connected components are spots) or a label image
        (any other integer type; one value a spot, 0 between them).
    background : array (rows, cols), optional
        Rolling median of the scan; a coarse median of the frame itself if not given.
    index, omega_deg : int, float
        Written into the table.
    beam_stop : bool array (rows, cols), optional
    cleaned : uint8 array (rows, cols), optional
        The network's output, for the confidence; NaN without.
    pixel_um : float, optional
        Edge of a pixel, for `area_um2`; NaN without.

    Returns
    -------
    structured array of `SPOT_DTYPE`
        One row a spot, ordered by id (the label).  `row`, `col` are the intensity-weighted
        centroid; `length_px` and `width_px` are 4 standard deviations along the principal
        axes; `orientation_deg` is the long axis against the row direction, counter-clockwise.
        `sum`, `peak` are above `background`, the mean background in the mask (corrected for
        the drift of the source); `snr` and `confidence` are as defined by this module.
        `found_by` is left unknown.
    """
    labels = np.asarray(mask)
    if labels.dtype.kind == "b" or labels.dtype == np.uint8:
        from scipy import ndimage as ndi

        labels, _ = ndi.label(labels, EIGHT)
    flat = np.flatnonzero(labels)
    ids, label = np.unique(labels.ravel()[flat], return_inverse=True)
    table = np.zeros(ids.size, SPOT_DTYPE)
    table["frame"], table["id"], table["omega_deg"] = index, ids, omega_deg
    if ids.size == 0:
        return table
    frame = np.asarray(frame)
    rows, cols = flat // frame.shape[1], flat % frame.shape[1]
    if background is None:
        background, drift = block_median(frame, labels == 0), 1.0
    else:
        background = np.asarray(background, np.float32)
        drift = _drift(frame, background, labels == 0)
    noise = _at_points(_block_noise(frame, background, drift), rows, cols, frame.shape)
    below = np.float32(drift) * background.ravel()[flat]
    _geometry(table, label, rows, cols, frame.shape)
    _intensity(table, label, rows, cols, frame.ravel()[flat].astype(np.float64) - below)
    area = table["area_px"]
    table["background"] = np.bincount(label, below) / area
    table["noise"] = np.bincount(label, noise) / area
    table["snr"] = table["sum"] / area / table["noise"]
    table["area_um2"] = area * (np.nan if pixel_um is None else pixel_um**2)
    table["confidence"] = np.nan
    if cleaned is not None:
        table["confidence"] = np.bincount(label, np.asarray(cleaned).ravel()[flat]) / area / 255
    if beam_stop is not None and beam_stop.any():
        table["touches_beam_stop"] = np.bincount(label, _beside(beam_stop, rows, cols)) > 0
    return table


def _geometry(table, label, rows, cols, shape) -> None:
    """Area, box and principal axes of the masks."""
    area = np.bincount(label)
    order = np.argsort(label, kind="stable")
    starts = np.concatenate([[0], np.cumsum(area)[:-1]])
    for name, at in (("row", rows), ("col", cols)):
        table[f"{name}_min"] = np.minimum.reduceat(at[order], starts)
        table[f"{name}_max"] = np.maximum.reduceat(at[order], starts)
    dr = rows - (np.bincount(label, rows) / area)[label]
    dc = cols - (np.bincount(label, cols) / area)[label]
    # a pixel is a square of variance 1/12
    rr = np.bincount(label, dr * dr) / area + 1 / 12
    cc = np.bincount(label, dc * dc) / area + 1 / 12
    rc = np.bincount(label, dr * dc) / area
    middle, spread = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
    table["area_px"] = area
    table["length_px"] = 4 * np.sqrt(middle + spread)
    table["width_px"] = 4 * np.sqrt(np.maximum(middle - spread, 0))
    table["orientation_deg"] = np.rad2deg(0.5 * np.arctan2(-2 * rc, cc - rr))
    table["touches_edge"] = (
        (table["row_min"] == 0)
        | (table["col_min"] == 0)
        | (table["row_max"] == shape[0] - 1)
        | (table["col_max"] == shape[1] - 1)
    )


def _intensity(table, label, rows, cols, signal) -> None:
    """Sum, peak and the intensity-weighted centroid."""
    weight = np.maximum(signal, 0) + 1e-9
    total = np.bincount(label, weight)
    table["row"] = np.bincount(label, weight * rows) / total
    table["col"] = np.bincount(label, weight * cols) / total
    table["sum"] = np.bincount(label, signal)
    peak = np.full(len(table), -np.inf)
    np.maximum.at(peak, label, signal)
    table["peak"] = peak


def _beside(region: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Whether pixels are in a region or touch it."""
    near = np.zeros(rows.size, bool)
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            r = np.clip(rows + dr, 0, region.shape[0] - 1)
            near |= region[r, np.clip(cols + dc, 0, region.shape[1] - 1)]
    return near


def _drift(frame: np.ndarray, median: np.ndarray, outside: np.ndarray) -> float:
    """Brightness of a projection against its rolling median, outside the spots."""
    step = max(1, frame.size // _ENOUGH_PX)
    frame, median, outside = frame[::step], median[::step], outside[::step]
    if not outside.any():
        return 1.0
    level = float(np.median(median[outside]))
    return float(np.median(frame[outside])) / level if level > 0 else 1.0


def local_background(
    frame: np.ndarray, median: np.ndarray | None, mask: np.ndarray, block_px: int = 32
) -> np.ndarray:
    """What the projection would read without spots, float32 ``(rows, cols)``.

    With a rolling median, the median times the source's drift (ratio of the two outside the
    spots); without, a coarse median of the frame outside the spots.
    """
    outside = ~np.asarray(mask, bool)
    if median is not None:
        return (median * np.float32(_drift(frame, median, outside))).astype(np.float32)
    return block_median(frame, outside, block_px)


class FrameMeasurer:
    """Measures any projection of a scan against its rolling median.

    Parameters
    ----------
    scan : Scan
    median_window : int
        Rolling median used as local background; the projections of a scan of one or two use
        their own surroundings.
    """

    def __init__(self, scan, median_window: int = 11) -> None:
        self.scan = scan
        self.median = RollingMedian(scan, median_window) if scan.n_frames >= 3 else None
        self._stop = scan.beam_stop_mask()

    def background(self, index: int) -> np.ndarray | None:
        """Rolling median of projection `index`, or None if the scan has none."""
        return None if self.median is None else self.median.at(index)

    def measure(
        self, index: int, mask: np.ndarray, cleaned: np.ndarray | None = None
    ) -> np.ndarray:
        """Table of the spots of projection `index`; see `measure`."""
        scan = self.scan
        return measure(
            scan.frame(index),
            mask,
            self.background(index),
            index=index,
            omega_deg=np.nan if scan.omega_deg is None else scan.omega_deg[index],
            beam_stop=self._stop,
            cleaned=cleaned,
            pixel_um=scan.description.pixel_um,
        )


def measure_stack(
    scan, masks, median_window: int = 11, frames: Iterable[int] | None = None
) -> Iterator[np.ndarray]:
    """Measure projection after projection; yields one table of `SPOT_DTYPE` each.

    Parameters
    ----------
    scan : Scan
    masks : stack (n, rows, cols)
        Masks or label images, as for `measure`.
    median_window : int
        Rolling median used as local background; see `FrameMeasurer`.
    frames : iterable of int, optional
    """
    measurer = FrameMeasurer(scan, median_window)
    for index in range(scan.n_frames) if frames is None else frames:
        yield measurer.measure(index, np.asarray(masks[index]))
