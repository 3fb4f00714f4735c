"""From cleaned projections to spots: binarise, measure, and the one definition of SNR.

SNR of a spot = mean(frame - local background) inside its mask / local noise sigma.
Detectability = SNR x sqrt(area).
Significance of a spot = its height in a bank of matched filters (`significance`), noise sigmas.
Confidence of a spot = mean of the cleaned projection inside its mask, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from ..background.drift import source_drift
from ..background.noise import _at_points, _block_noise, _spread, block_median
from ..background.rolling_median import SPOT_WINDOW, RollingMedian
from ..core.errors import ScanError
from ..core.spot_words import WORDS
from ..core.stacks import FrameStack
from ..scan.detector_mask import either
from ..scan.scan import Scan
from .components import label_eight
from .significance import significance

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
        ("significance", "f4"),
        ("confidence", "f4"),
        ("found_by", "u1"),
        ("touches_edge", "?"),
        ("touches_beam_stop", "?"),
    ]
)

#: Meaning of the numbers in the column `found_by`.
UNKNOWN, NETWORK, ROUTINE, BOTH = range(4)
FOUND_BY = WORDS["found_by"]

#: Larger labels are refused: what is known of spots is kept in arrays indexed by label.
LARGEST_ID = 1 << 24


def label_image(mask: np.ndarray) -> np.ndarray:
    """Label image of a mask, int32 ``(rows, cols)``; a label image stays as it is.

    Masks are bool or uint8, or floating point with one value for spot (0.7, 1 or 255, say); their
    8-connected components are spots.  Any other type holds labels.

    Raises
    ------
    ScanError
        A value is no label: NaN, negative, a fraction among others, or above `LARGEST_ID`.
    """
    mask = np.asarray(mask)
    if _is_binary(mask):
        return label_eight(mask != 0)[0]
    return mask.astype(np.int32)


def spot_pixels(mask: np.ndarray) -> np.ndarray:
    """Pixels of spots in a mask or label image, bool ``(rows, cols)``.

    Raises
    ------
    ScanError
        As for `label_image`.
    """
    mask = np.asarray(mask)
    _is_binary(mask)
    return mask != 0


def _is_binary(mask: np.ndarray) -> bool:
    """Whether an image is a mask and not labels; raises a ScanError if it is neither."""
    binary = mask.dtype.kind == "b" or mask.dtype == np.uint8
    if not binary and mask.size:
        top = mask.max()
        if not mask.min() >= 0:  # NaN, too
            raise ScanError("Masks must not hold NaN or negative values; save them as 0 and 255.")
        if mask.dtype.kind == "f" and top > 0 and np.isfinite(top):
            binary = bool(top < 1 or top in (1, 255)) and not np.any((mask > 0) & (mask < top))
            if not binary and np.any(mask % 1):
                raise ScanError(
                    "The masks hold different fractions, which are neither masks nor labels; "
                    "choose a threshold and save them as 0 and 255."
                )
        if not binary and top > LARGEST_ID:
            raise ScanError(
                f"The masks hold a label of {top:g}, and labels may go up to {LARGEST_ID}; number "
                "the spots of each projection from 1, or save masks as 0 and 255."
            )
    return binary


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
        Its shadow, and whatever else is hidden as it is, such as gaps of the detector.
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
        the drift of the source); `snr`, `significance` and `confidence` are as defined by this
        module.
        `found_by` is left unknown.
    """
    labels = label_image(mask)
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
        drift = source_drift(frame, background, labels == 0)
    coarse_noise = _block_noise(frame, background, drift)
    noise = _at_points(coarse_noise, rows, cols, frame.shape)
    below = np.float32(drift) * background.ravel()[flat]
    _geometry(table, label, rows, cols, frame.shape)
    _intensity(table, label, rows, cols, frame.ravel()[flat].astype(np.float64) - below)
    area = table["area_px"]
    table["background"] = np.bincount(label, below) / area
    table["noise"] = np.bincount(label, noise) / area
    table["snr"] = table["sum"] / area / table["noise"]
    in_noise = frame - np.float32(drift) * background
    in_noise -= block_median(in_noise, labels == 0)
    in_noise /= _spread(coarse_noise, frame.shape)
    numbered = np.zeros(labels.shape, np.int32)
    numbered.ravel()[flat] = label + 1
    table["significance"] = significance(in_noise, numbered, count=ids.size, inside=flat)
    table["area_um2"] = area * (np.nan if pixel_um is None else pixel_um**2)
    table["confidence"] = np.nan
    if cleaned is not None:
        table["confidence"] = np.bincount(label, np.asarray(cleaned).ravel()[flat]) / area / 255
    if beam_stop is not None and beam_stop.any():
        table["touches_beam_stop"] = np.bincount(label, _beside(beam_stop, rows, cols)) > 0
    return table


def _geometry(
    table: np.ndarray, label: np.ndarray, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, ...]
) -> None:
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


def _intensity(
    table: np.ndarray, label: np.ndarray, rows: np.ndarray, cols: np.ndarray, signal: np.ndarray
) -> None:
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


def local_background(
    frame: np.ndarray, median: np.ndarray | None, mask: np.ndarray, block_px: int = 32
) -> np.ndarray:
    """What the projection would read without spots, float32 ``(rows, cols)``.

    With a rolling median, the median times the source's drift (ratio of the two outside the
    spots); without, a coarse median of the frame outside the spots.
    """
    outside = ~np.asarray(mask, bool)
    if median is not None:
        return (median * np.float32(source_drift(frame, median, outside))).astype(np.float32)
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

    def __init__(self, scan: Scan, median_window: int = SPOT_WINDOW) -> None:
        self.scan = scan
        self.median = RollingMedian(scan, median_window) if scan.n_frames >= 3 else None

    @cached_property
    def _stop(self) -> np.ndarray:
        return self.scan.hidden()

    def measured(self, index: int, labels: np.ndarray) -> np.ndarray:
        """Labels of projection `index` without the pixels at which nothing was measured."""
        left_out = self.scan.left_out(index)
        return labels if left_out is None else np.where(left_out, labels.dtype.type(0), labels)

    def background(self, index: int) -> np.ndarray | None:
        """Rolling median of projection `index`, or None if the scan has none."""
        return None if self.median is None else self.median.at(index)

    def measure(
        self, index: int, mask: np.ndarray, cleaned: np.ndarray | None = None
    ) -> np.ndarray:
        """Table of the spots of projection `index`; see `measure`.

        The detector mask counts as the beam stop does.
        """
        scan, mask = self.scan, np.asarray(mask)
        reading = scan.reading(index)
        return measure(
            reading.image,
            self.measured(index, mask),
            self.background(index),
            index=index,
            omega_deg=np.nan if scan.omega_deg is None else scan.omega_deg[index],
            beam_stop=either(self._stop, reading.left_out),
            cleaned=cleaned,
            pixel_um=scan.description.pixel_um,
        )


def measure_stack(
    scan: Scan,
    masks: FrameStack,
    median_window: int = SPOT_WINDOW,
    frames: Iterable[int] | None = None,
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
