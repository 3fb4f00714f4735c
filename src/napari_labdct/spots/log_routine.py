"""The standard routine: rolling-median correction, then Laplacian-of-Gaussian segmentation.

Fang et al. (2021), IUCrJ 8, section 2.4: the rolling median of the stack is subtracted, a
background value taken off, the rest smoothed with a Gaussian and passed through a Laplacian;
each connected component is then cut at a percentage of its own maximum, and components below
a minimum size are dropped.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from ..background.drift import source_drift
from ..background.rolling_median import SPOT_WINDOW, RollingMedian
from ..core.frame_store import FrameStore
from ..core.jobs import MASK, FrameJob, Output, Progress
from ..core.parameters import Param, Settings
from ..core.recipes import recipe
from ..core.robust import MAD_TO_SIGMA, mad
from ..core.stacks import LazyStack
from ..scan.detector_mask import either
from ..scan.scan import Scan

#: Where the Gaussian of the LoG is cut, in standard deviations: exp(-32) is 1e-14.
CUT_SIGMA = 8.0


@dataclass(frozen=True, kw_only=True)
class RoutineSettings(Settings):
    """Parameters of the standard routine, with the paper's names."""

    job: ClassVar[str] = "routine"

    median_window: Annotated[
        int,
        Param(
            "Rolling median",
            "projections",
            3,
            361,
            2,
            "Projections whose median is the background.",
        ),
    ] = SPOT_WINDOW
    background: Annotated[
        float,
        Param("Background value", "counts", 0, 1e5, 1, "Taken off after the median correction."),
    ] = 5.0
    sigma_px: Annotated[
        float, Param("Gaussian SD", "px", 0.3, 25, 0.1, "Smoothing before the Laplacian.")
    ] = 2.0
    percentage: Annotated[
        float,
        Param("Percentage", "%", 0, 100, 1, "Pixels above this part of a spot's maximum stay."),
    ] = 10.0
    min_size_px: Annotated[
        int, Param("Minimum spot size", "px", 1, 10000, 1, "Smaller spots are taken for noise.")
    ] = 10
    remove_cosmic_rays: Annotated[
        bool,
        Param(
            "Remove cosmic rays",
            help="Replace single sharp pixels, hot pixels too, by the median of their neighbours "
            "before the filter; not in the paper, but the best tuned routine needs it.",
        ),
    ] = False
    follow_drift: Annotated[
        bool,
        Param(
            "Follow source drift",
            help="Scale the rolling median to the brightness of each projection first. Off as in "
            "the paper; without it a source that drifts by a few per cent lifts or lowers whole "
            "projections against the background value.",
            advanced=True,
        ),
    ] = False


def laplacian_of_gaussian(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Negative Laplacian of the Gaussian-smoothed image (positive on spots), zeros outside.

    Separable sum of two passes with kernels cut at ``8 sqrt(2) sigma``; beyond `CUT_SIGMA`
    what a Gaussian still weighs is lost in the rounding of double precision.

    Parameters
    ----------
    image : array (rows, cols)
    sigma_px : float
        Standard deviation of the Gaussian, pixels.

    Returns
    -------
    array of float64 (rows, cols)
    """
    from ..core import kernels

    half = math.ceil(CUT_SIGMA * sigma_px)
    x = np.arange(half + 1, dtype=float)
    gauss = np.exp(-(x**2) / (2 * sigma_px**2))
    gauss /= 2 * gauss.sum() - gauss[0]
    curve = gauss * (x**2 - sigma_px**2) / sigma_px**4
    image = np.ascontiguousarray(image)
    rows, cols = image.shape
    # Rows a power of two long would all fall into the same few cache lines.
    smooth, curved = (np.empty((rows, cols + 40)) for _ in range(2))
    out = np.empty(image.shape)
    kernels.in_row_blocks(kernels.log_along_rows, rows, image, gauss, curve, smooth, curved)
    kernels.in_row_blocks(kernels.log_along_columns, rows, smooth, curved, gauss, curve, out)
    return out


def log_segment(
    residual: np.ndarray, settings: RoutineSettings, exclude: np.ndarray | None = None
) -> np.ndarray:
    """Spots of one median-corrected projection (paper 2.4).

    Parameters
    ----------
    residual : array (rows, cols)
        Projection minus its rolling median, counts.
    settings : RoutineSettings
        `background`, `sigma_px`, `percentage` and `min_size_px` are used.
    exclude : bool array (rows, cols), optional
        Pixels never segmented, such as the beam stop.

    Returns
    -------
    bool array (rows, cols)
    """
    from ..core import kernels

    above = np.maximum(np.asarray(residual, np.float32) - np.float32(settings.background), 0)
    mask = laplacian_of_gaussian(above, settings.sigma_px) > 0
    if exclude is not None:
        mask &= ~exclude
    labels = np.empty(mask.shape, np.int32)
    kernels.drop_small(mask, settings.min_size_px, labels)
    part = np.float32(settings.percentage / 100)
    kernels.cut_at_part_of_peak(mask, above, part, labels)
    kernels.drop_small(mask, settings.min_size_px, labels)
    return mask


def remove_cosmic_rays(residual: np.ndarray, n_sigma: float = 6.0) -> np.ndarray:
    """Replace sharp single pixels by the median of their 3 x 3 neighbourhood.

    A cosmic ray or hot pixel stands more than `n_sigma` of the frame's noise, and more than
    half its own height, above the median of its neighbourhood; the point spread of a detector
    does not let a diffraction spot be so sharp.

    Parameters
    ----------
    residual : array (rows, cols)
        Median-corrected projection, counts.
    n_sigma : float
        Height in robust standard deviations of the residual.

    Returns
    -------
    float32 array (rows, cols)
    """
    from ..core import kernels

    residual = np.ascontiguousarray(residual, np.float32)
    smooth = np.empty_like(residual)
    padded = np.pad(residual, 1, mode="edge")
    kernels.in_row_blocks(kernels.median_3x3, residual.shape[0], padded, smooth)
    excess = residual - smooth
    sigma = MAD_TO_SIGMA * mad(residual)
    sharp = (excess > n_sigma * sigma) & (excess > 0.5 * residual)
    return np.where(sharp, smooth, residual)


def segment_frame(
    frame: np.ndarray,
    background: np.ndarray,
    settings: RoutineSettings,
    exclude: np.ndarray | None = None,
) -> np.ndarray:
    """The whole routine on one projection and its rolling median; bool ``(rows, cols)``."""
    return log_segment(corrected(frame, background, settings), settings, exclude)


def corrected(frame: np.ndarray, background: np.ndarray, settings: RoutineSettings) -> np.ndarray:
    """What the LoG gets: a projection without its rolling median, float32 ``(rows, cols)``.

    Depends on `follow_drift` and `remove_cosmic_rays` alone, so it is computed once while the
    four LoG parameters change.
    """
    if settings.follow_drift:
        background = background * source_drift(frame, background)
    residual = frame.astype(np.float32) - background
    return remove_cosmic_rays(residual) if settings.remove_cosmic_rays else residual


class RoutineFrames(LazyStack):
    """The routine's masks of a scan, made when a frame is asked for (uint8, 0 or 255).

    Equal to what `RoutineJob` writes; frames in order are cheap, see `RollingMedian`.  Another
    `median` of the same window with ``at`` and ``note`` may be given, such as `StoredMedian`.
    """

    def __init__(self, scan: Scan, settings: RoutineSettings, median: Any = None) -> None:
        super().__init__((scan.n_frames, *scan.shape), np.uint8)
        self.scan = scan
        self.settings = settings
        self._median = median or RollingMedian(scan, settings.median_window)
        self.note = self._median.note
        self._lock = threading.Lock()
        self.remarks: dict[int, str] = {}

    @cached_property
    def _exclude(self) -> np.ndarray:
        return self.scan.hidden()

    def read(self, index: int) -> np.ndarray:
        reading = self.scan.reading(index)
        self.remarks[index] = reading.remark
        if reading.blank:
            return np.zeros(self.scan.shape, np.uint8)
        with self._lock:
            ground = self._median.at(index)
        hidden = either(self._exclude, reading.left_out)
        mask = segment_frame(reading.image, ground, self.settings, hidden)
        return np.where(mask, np.uint8(255), np.uint8(0))


class RoutineJob(FrameJob):
    """The routine over a whole scan: masks, uint8, 0 or 255.

    Parameters
    ----------
    scan : Scan
    settings : RoutineSettings
    median : optional
        As for `RoutineFrames`.
    """

    name = "routine"
    settings_type = RoutineSettings
    makes = MASK
    suffix = "_routine"
    scan: Scan
    settings: RoutineSettings

    def __init__(self, scan: Scan, settings: RoutineSettings, median: Any = None) -> None:
        self.scan = scan
        self.settings = settings
        self.masks = RoutineFrames(scan, settings, median)
        self.note = self.masks.note

    @property
    def output(self) -> Output:
        return Output(self.masks.shape, np.uint8, orientation=self.scan.orientation)

    def frame(self, index: int) -> np.ndarray:
        return self.masks.read(index)

    def remark(self, index: int) -> str:
        """What of a projection could not be used."""
        return self.masks.remarks.pop(index, "")

    def run(self, store: FrameStore, frames: Iterable[int] | None = None) -> Iterator[Progress]:
        """As `FrameJob.run`; the mask is found now and not when the job is made."""
        self.note = " ".join(part for part in (self.masks.note, self.scan.about_mask()) if part)
        return super().run(store, frames)

    def recipe(self) -> dict[str, Any]:
        stop = [list(map(list, polygon)) for polygon in self.scan.description.beam_stop_px]
        circular = self.scan.circular
        return recipe(self.name, self.settings, self.scan, beam_stop_px=stop, circular=circular)


def open_store(
    scan: Scan, settings: RoutineSettings, path: str | Path, *, overwrite: bool = False
) -> FrameStore:
    """As in version 0.1, for one more release: `RoutineJob.open_store`."""
    return RoutineJob(scan, settings).open_store(path, overwrite=overwrite)


def run(
    scan: Scan,
    settings: RoutineSettings,
    store: FrameStore,
    frames: Iterable[int] | None = None,
    median: Any = None,
) -> Iterator[Progress]:
    """As in version 0.1, for one more release: `RoutineJob.run`."""
    return RoutineJob(scan, settings, median).run(store, frames)
