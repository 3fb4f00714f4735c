"""Background of any real scan: Appendix A of the paper, streamed.

Spots are found with a Sobel filter and a threshold and dropped, their neighbourhood is filled
from its surroundings, and a rolling median over many projections takes away what the filling
left; division by the maximum gives I_BG between 0 and 1.

One thing is not in the paper.  All steps work on the difference between a projection and the
static image of the scan (the median of projections from all over it), which is put back at
the end.  A beam stop, a streak or a tile seam has no gradient there, so it is neither taken for
a spot nor smoothed away, and what is left varies so slowly that the rolling median can be taken
on a coarser grid: a sixtieth of the time and a quarter of the memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.jobs import BACKGROUND, FrameJob, Output, Progress
from ..core.recipes import recipe
from ..core.stacks import LazyStack
from ..scan.scan import Scan
from .rolling_median import RollingMedian
from .static import (
    StaticImage,
    brightness,
    checked_frame,
    noise_by_level,
    picked_frames,
    static_image,
)
from .steps import (
    ExtractionSettings,
    add_spread,
    bin_cells,
    fill_holes,
    fill_mask,
    normalised,
    spot_mask,
)

# The rolling median is kept as whole numbers of this part of the noise.
_QUANTUM = 1 / 64


@dataclass(frozen=True, eq=False)
class Steps:
    """The images of Fig. 11 for one projection, each ``(rows, cols)``.

    Parameters
    ----------
    projection : array
        (a) as stored.
    without_spots : float32 array
        (b) zero where spots were found.
    fill_mask : bool array
        (c)
    filled : float32 array
        (d) counts.
    drift : float
        Brightness over that of the static image.
    """

    index: int
    projection: np.ndarray
    without_spots: np.ndarray
    fill_mask: np.ndarray
    filled: np.ndarray
    drift: float


@dataclass(frozen=True, eq=False)
class FrameNumbers:
    """What one projection tells of the source and of the detector."""

    drift: float
    levels: np.ndarray
    variances: np.ndarray
    cosmic_heights: np.ndarray
    cosmic_pixels: int
    hot_values: np.ndarray


class _Differences(LazyStack):
    """Filled and smoothed differences from the static image, on the coarse grid, int16."""

    def __init__(self, extraction: Extraction) -> None:
        scan, pitch = extraction.scan, extraction.pitch
        shape = (scan.n_frames, *(-(-n // pitch) for n in scan.shape))
        super().__init__(shape, np.int16)
        self._extraction = extraction

    def read(self, index: int) -> np.ndarray:
        loaded = self._extraction.loaded.pop(index, None)
        return self._extraction.coarse(index) if loaded is None else loaded


class _Window(RollingMedian):
    """A rolling median over always the same number of projections.

    Where the stack ends, the window is shifted and not cut off: at the ends it would else let
    spots through that it takes away elsewhere.
    """

    def indices(self, index: int) -> list[int]:
        if self.scan.circular:
            return super().indices(index)
        start = min(max(index - self._half, 0), self.scan.unique_frames - self.window)
        return list(range(start, start + self.window))

    def entering(self, index: int) -> list[int]:
        """Projections of the window of `index` that are not in hand."""
        return [i for i in self.indices(index) if i not in self._frames]


class Extraction(FrameJob):
    """Background of each projection of a scan (paper, Appendix A).

    Ask for projections in order: each is then worked on once.  Memory: a window of the
    coarse grid twice, that is ``window * rows * cols * 4 / smoothing_px**2`` bytes.

    Parameters
    ----------
    scan : Scan
    settings : ExtractionSettings
    measure : bool
        Keep what each projection tells of source and detector in `numbers`.
    rough : StaticImage, optional
        From `static.static_image`, if it is known already.

    Attributes
    ----------
    note : str
        Empty, or one sentence on how the window was cut.
    numbers : dict of int to FrameNumbers
        Filled as projections are worked on, if `measure` is set.
    """

    name = "background"
    settings_type = ExtractionSettings
    makes = BACKGROUND
    suffix = "-background"
    scan: Scan
    settings: ExtractionSettings

    def __init__(
        self,
        scan: Scan,
        settings: ExtractionSettings,
        *,
        measure: bool = False,
        rough: StaticImage | None = None,
    ) -> None:
        self.scan = scan
        self.settings = settings
        self.measure = measure
        self.numbers: dict[int, FrameNumbers] = {}
        self.pitch = min(max(int(settings.smoothing_px), 1), 8)
        self.rough = rough
        self.static: StaticImage | None = None
        self.loaded: dict[int, np.ndarray] = {}
        self._lock = threading.RLock()
        coarse = scan.replace(frames=_Differences(self))
        self._median = _Window(coarse, settings.window_frames)
        self.note = ""
        if self._median.note:
            self.note = (
                f"The window of {settings.window_frames} was cut to the {self._median.window} "
                f"that fit into the {scan.unique_frames} projections of the scan."
            )

    def prepare(self) -> Iterator[Progress]:
        """Make the static image, with progress; happens by itself if it is left out.

        Raises
        ------
        ScanError
            Too few projections, or one that is constant.
        """
        if self.static is None:
            rough = self.rough or (yield from static_image(self.scan, self.settings))
            # Where spots overlap in many projections they lift the median a little; once more,
            # without the spots that stand out of it.
            self.static = yield from static_image(
                self.scan, self.settings, lambda index: self._without_spots(index, rough)
            )

    def _ready(self) -> StaticImage:
        if self.static is None:
            list(self.prepare())
        return self.static

    @property
    def quantum(self) -> float:
        """Counts that one unit of `coarse` and `coarse_median` stands for."""
        return _QUANTUM * float(np.sqrt(np.median(self._ready().variance[::8, ::8])))

    def _find(
        self, index: int, static: StaticImage
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
        """Projection, difference, spots, fill mask and drift."""
        frame = checked_frame(self.scan, index)
        grey = frame.astype(np.float32)
        level = static.image
        drift = brightness(frame) / brightness(level)
        difference = self._difference(grey, static, drift)
        limit = self.settings.sobel_threshold * np.sqrt(drift)
        spots = spot_mask(difference, static.variance, limit)
        mask = fill_mask(spots, self.settings)
        thin = (slice(None, None, 4), slice(None, None, 4))
        free = ~mask[thin] & (level[thin] > 0.25 * brightness(level))
        if free.sum() > 1000:
            drift = float(np.median(grey[thin][free] / level[thin][free]))
            difference = self._difference(grey, static, drift)
        return frame, difference, spots, mask, drift

    @staticmethod
    def _difference(grey: np.ndarray, static: StaticImage, drift: float) -> np.ndarray:
        difference = grey - np.float32(drift) * static.image
        difference[tuple(static.hot_pixels.T)] = 0  # a hot pixel is no spot
        return difference

    def _without_spots(self, index: int, static: StaticImage) -> np.ndarray:
        """A projection at drift 1 whose spots are filled, float32."""
        frame, difference, _, mask, drift = self._find(index, static)
        filled = static.image.copy()
        add_spread(filled, self._smooth(difference, mask), self.pitch, 1 / drift)
        return np.where(mask, filled, frame.astype(np.float32) / np.float32(drift))

    def _smooth(self, difference: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Filled from the surroundings and smoothed, on the coarse grid, float32."""
        from scipy import ndimage as ndi

        part = np.empty([-(-n // self.pitch) for n in mask.shape], np.float32)
        mean = bin_cells(difference, self.pitch, mask, part)
        filled = fill_holes(mean, part)
        if self.settings.smoothing_px > 0:
            ndi.gaussian_filter(
                filled, self.settings.smoothing_px / self.pitch, output=filled, mode="nearest"
            )
        return filled

    def coarse(self, index: int) -> np.ndarray:
        """Filled and smoothed difference of one projection at drift 1, whole quanta, int16."""
        frame, difference, _, mask, drift = self._find(index, self._ready())
        if self.measure and index not in self.numbers:
            self.numbers[index] = self._measure(frame, difference, mask, drift)
        filled = self._smooth(difference, mask)
        filled *= 1 / (drift * self.quantum)
        return np.clip(np.rint(filled, out=filled), -32767, 32767).astype(np.int16)

    def _measure(
        self, frame: np.ndarray, difference: np.ndarray, mask: np.ndarray, drift: float
    ) -> FrameNumbers:
        from ..core import kernels

        static = self._ready()
        free = np.where(mask, np.float32(np.nan), difference)
        levels, variances = noise_by_level(free, static.image, static.edges)
        smooth = np.empty_like(difference)
        padded = np.pad(difference, 1, mode="edge")
        kernels.in_row_blocks(kernels.median_3x3, mask.shape[0], padded, smooth)
        excess = difference - smooth
        # Too sharp for the point spread of a detector: see routine.remove_cosmic_rays.
        sharp = (excess > 8 * np.sqrt(drift * static.variance)) & (excess > 0.8 * difference)
        labels = np.empty(mask.shape, np.int32)
        events = kernels.label(sharp, True, labels)
        heights = np.zeros(events + 1, np.float32)
        np.maximum.at(heights, labels[sharp], difference[sharp])
        hot = frame[tuple(static.hot_pixels.T)] / np.float32(drift)
        return FrameNumbers(drift, levels * drift, variances, heights[1:], int(sharp.sum()), hot)

    @property
    def static_steps(self) -> int:
        """Projections that `prepare` reads, each one counted as often as it is read."""
        return 2 * len(picked_frames(self.scan, self.settings))

    def load(self, index: int) -> Iterator[Progress]:
        """Work on the projections that the background of `index` still needs, with progress.

        Left out, `background` does it in one go.
        """
        yield from self.prepare()
        wanted = self._median.entering(index)
        for k, i in enumerate(wanted):
            yield Progress(k, len(wanted), "Filling the window")
            if i not in self.loaded:
                self.loaded[i] = self.coarse(i)

    def steps(self, index: int) -> Steps:
        """The images of Fig. 11 (a) to (d) of one projection."""
        with self._lock:
            frame, difference, spots, mask, drift = self._find(index, self._ready())
            filled = np.float32(drift) * self._ready().image
            add_spread(filled, self._smooth(difference, mask), self.pitch)
        dropped = np.where(spots, np.float32(0), frame.astype(np.float32))
        return Steps(index, frame, dropped, mask, filled, drift)

    def level(self, index: int) -> np.ndarray:
        """Background of one projection at drift 1, counts, float32 ``(rows, cols)``."""
        with self._lock:
            static = self._ready()
            out = static.image.copy()
            add_spread(out, self.coarse_median(index), self.pitch, self.quantum)
        return np.maximum(out, 0, out=out)

    def coarse_median(self, index: int) -> np.ndarray:
        """Rolling median of `coarse`, float32, in quanta."""
        with self._lock:
            return self._median.at(index)

    @property
    def output(self) -> Output:
        shape = (self.scan.n_frames, *self.scan.shape)
        return Output(shape, np.float32, orientation=self.scan.orientation)

    def recipe(self) -> dict[str, Any]:
        return recipe(self.name, self.settings, self.scan, circular=self.scan.circular)

    def frame(self, index: int) -> np.ndarray:
        """I_BG of one projection (Fig. 11e), 0 to 1, float32 ``(rows, cols)``."""
        return normalised(self.level(index), self.settings.brightest_percent)

    def window_of(self, index: int) -> list[int]:
        """Projections that the background of projection `index` is made of."""
        return self._median.indices(index)
