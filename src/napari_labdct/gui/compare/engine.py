"""Computes what the views show of a projection, in workers; no Qt here, and no viewer.

An `Engine` keeps what stays the same while a slider moves (medians, corrected projections),
so that a move costs the LoG of what is seen and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...background.drift import source_drift
from ...background.rolling_median import SPOT_WINDOW, RollingMedian
from ...background.stored_median import MedianJob, StoredMedian
from ...core.jobs import Progress
from ...core.recipes import sidecar
from ...core.robust import robust_sigma
from ...core.stacks import LazyStack
from ...evaluation.comparison import FrameResult, compare_frame
from ...scan.scan import Scan
from ...spots.log_routine import RoutineSettings, corrected, log_segment
from ...spots.matching import agreement, line_profile, match_spots, residual
from ..app import preferences
from ..app.result_cache import open_result, place
from .request import FrameView, Request, Source, Window

if TYPE_CHECKING:
    from ...simulation.prediction import Prediction

_KEPT = 4
#: How near a mask must come to a predicted spot to have it, px: the distance of a match.
_NEAR_PX = 3


class Engine:
    """Computes `FrameView`s of one scan; one call at a time, from any thread.

    Attributes
    ----------
    prediction : Prediction or None
        The grains of a map, whose spots may be asked for.
    """

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.prediction: Prediction | None = None
        self._lock = threading.RLock()
        self._streams: dict[int, RollingMedian | StoredMedian] = {}
        self._medians: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._corrected: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._flats: OrderedDict[tuple, tuple] = OrderedDict()
        self._masks: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._stop: np.ndarray | None = None

    @property
    def stop(self) -> np.ndarray:
        """Where no spot can be: beam stop and detector mask, bool ``(rows, cols)``."""
        with self._lock:
            if self._stop is None:
                self._stop = self.scan.hidden()
            return self._stop

    def look(self, request: Request) -> Generator[FrameView | FrameResult, None, None]:
        """What is on the screen first, then the whole projection, then its numbers."""
        if request.window is not None and (request.a.live or request.b.live):
            yield self._glance(request)
        masks = [self._mask(source, request) for source in (request.a, request.b)]
        yield self._view(request, *masks, whole=True)
        median = self.median(request.index, SPOT_WINDOW)
        yield compare_frame(
            self.scan, request.index, *masks, background=median, beam_stop=self.stop
        )

    def median(self, index: int, window: int) -> np.ndarray | None:
        """Rolling median of a projection; None if the scan is too short for one."""
        if self.scan.n_frames < 3:
            return None

        def make() -> np.ndarray:
            if window not in self._streams:
                self._adopt(window, self._known_median(window) or RollingMedian(self.scan, window))
            return self._streams[window].at(index)

        return self._kept(self._medians, (index, window), make)

    def prepare_median(self, window: int) -> Iterator[Progress | StoredMedian]:
        """Stream the rolling median of all projections into the cache folder; resumable.

        From then on everything that needs the median of this window reads it there.
        """
        job = MedianJob(self.scan, window)
        made = StoredMedian(self.scan, window, open_result(job, *preferences.results()))
        with self._lock:
            self._adopt(window, made)
        yield made
        yield from job.run(made.store)

    def stored_median(self, window: int) -> StoredMedian | None:
        """A reader of its own for another job, if the median was streamed into a file."""
        known = self._streams.get(window)
        if not isinstance(known, StoredMedian):
            return None
        return StoredMedian(self.scan, window, known.store)

    def _known_median(self, window: int) -> StoredMedian | None:
        """The rolling median of a window, if it was streamed into a file before."""
        job, (folder, limit_gb) = MedianJob(self.scan, window), preferences.results()
        if not sidecar(place(job, folder)).exists():
            return None
        return StoredMedian(self.scan, window, open_result(job, folder, limit_gb))

    def _adopt(self, window: int, median: RollingMedian | StoredMedian) -> None:
        # measuring has its own window whatever the slider says, and files cost no memory
        self._streams = {
            w: m
            for w, m in self._streams.items()
            if w == SPOT_WINDOW or isinstance(m, StoredMedian)
        } | {window: median}

    def note(self, window: int) -> str:
        """What the user should know of the median."""
        return self._streams[window].note if window in self._streams else ""

    def corrected(self, index: int, settings: RoutineSettings) -> np.ndarray:
        """A projection without its median, kept while the LoG parameters change."""
        key = (index, settings.median_window, settings.follow_drift, settings.remove_cosmic_rays)

        def make() -> np.ndarray:
            frame = self.scan.frame(index)
            median = self.median(index, settings.median_window)
            if median is None:
                median = np.full(frame.shape, np.median(frame), np.float32)
            return corrected(frame, median, settings)

        return self._kept(self._corrected, key, make)

    def routine_mask(
        self, index: int, settings: RoutineSettings, window: Window | None = None
    ) -> np.ndarray:
        """Spots of the live routine, in a window ``(row, end, col, col end)`` or everywhere."""
        ground = self.corrected(index, settings)
        if window is None:
            return self._kept(
                self._masks,
                (index, settings),
                lambda: log_segment(ground, settings, self.stop),
            )
        # spots that reach out of the window and what the filter sees beyond its edge
        margin = 24 + round(4 * settings.sigma_px)
        rows, cols = ground.shape
        part = np.s_[
            max(0, window[0] - margin) : min(rows, window[1] + margin),
            max(0, window[2] - margin) : min(cols, window[3] + margin),
        ]
        mask = np.zeros(ground.shape, bool)
        mask[part] = log_segment(ground[part], settings, self.stop[part])
        return mask

    def _mask(self, source: Source, request: Request, window: Window | None = None) -> np.ndarray:
        if source.live:
            return self.routine_mask(request.index, request.routine, window)
        return source.segmentation.mask(request.index, self.scan.shape)

    def _glance(self, request: Request) -> FrameView:
        masks = [self._mask(s, request, request.window) for s in (request.a, request.b)]
        return self._view(request, *masks, whole=False)

    def _flat(self, index: int, window: int) -> tuple[np.ndarray, float, float]:
        """A projection on a flat ground, its noise, and how far the source's drift lifts it."""

        def make() -> tuple[np.ndarray, float, float]:
            frame, median = self.scan.frame(index), self.median(index, window)
            lift = 0.0
            flat = frame.astype(np.float32)
            if median is not None:
                drift = float(source_drift(frame, median))
                flat = flat - median * np.float32(drift)
                lift = (drift - 1) * float(np.median(median[::4, ::4]))
            thin = flat[::4, ::4]
            return flat, robust_sigma(thin, floor=1e-3), lift

        return self._kept(self._flats, (index, window), make)

    def _view(self, request: Request, mask_a, mask_b, *, whole: bool) -> FrameView:
        settings = request.routine
        flat, sigma, lift = self._flat(request.index, settings.median_window)
        images = {
            "a": np.zeros(flat.shape, np.uint8),
            "b": np.zeros(flat.shape, np.uint8),
            "residual_a": np.zeros(flat.shape, np.float32),
            "residual_b": np.zeros(flat.shape, np.float32),
            "agreement": np.zeros(flat.shape, np.uint8),
        }
        # at a glance nobody sees what lies outside the window
        r0, r1, c0, c1 = (0, None, 0, None) if whole else request.window
        part = np.s_[r0:r1, c0:c1]
        a, b = mask_a[part], mask_b[part]
        images["a"][part], images["b"][part] = a, b
        images["residual_a"][part] = residual(flat[part], a)
        images["residual_b"][part] = residual(flat[part], b)
        images["agreement"][part] = agreement(a, b)
        profile = {}
        if whole and request.line is not None:
            profile = self._profile(request)
        note = self.note(settings.median_window)
        live = request.a.live or request.b.live
        if live and not settings.follow_drift and abs(lift) > settings.background / 3:
            note = (
                f"The source drifted: this projection lies {lift:+.0f} counts off its median, "
                "which the routine takes for signal. Try 'Follow source drift' under More."
            )
        match = match_spots(mask_a, mask_b) if whole else None
        spots = self.grain_spots(request.index, request.grain) if whole else None
        covered = (
            (0, 0) if spots is None else (count_near(mask_a, spots), count_near(mask_b, spots))
        )
        return FrameView(request, match, images, sigma, profile, note, spots, covered)

    def grain_spots(self, index: int, grain: int | None) -> np.ndarray | None:
        """Where a grain of the map should be seen on a projection; None if none is chosen."""
        prediction = self.prediction
        if prediction is None or grain is None:
            return None
        spots = prediction.frame(index)
        return spots[spots["grain"] == grain]

    def _profile(self, request: Request) -> dict[str, np.ndarray]:
        start, end = request.line
        frame = self.scan.frame(request.index)
        median = self.median(request.index, request.routine.median_window)
        curves = {"raw": line_profile(frame, start, end, request.line_width_px)}
        if median is not None:
            flat = frame - median
            curves["median-corrected"] = line_profile(flat, start, end, request.line_width_px)
        for source in (request.a, request.b):
            cleaned = None if source.live else source.segmentation.cleaned
            if cleaned is not None and tuple(cleaned.shape[1:]) == self.scan.shape:
                image = np.asarray(cleaned[request.index])
                curves["cleaned"] = line_profile(image, start, end, request.line_width_px)
                break
        length = float(np.hypot(*np.subtract(end, start)))
        curves["beam stop"] = line_profile(self.stop.astype(np.uint8), start, end)
        return {"distance": np.linspace(0, length, curves["raw"].size), **curves}

    def _kept(self, cache: OrderedDict, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in cache:
                cache.move_to_end(key)
            else:
                cache[key] = make()
                while len(cache) > _KEPT:
                    cache.popitem(last=False)
            return cache[key]


class Held(LazyStack):
    """The projections computed last, for a layer to show; all others are empty."""

    def __init__(self, shape: tuple[int, int, int], dtype: Any) -> None:
        super().__init__(shape, dtype)
        self._frames: OrderedDict[int, np.ndarray] = OrderedDict()
        self._empty = np.zeros(shape[1:], dtype)

    def put(self, index: int, image: np.ndarray) -> None:
        self._frames[index] = image
        self._frames.move_to_end(index)
        while len(self._frames) > _KEPT:
            self._frames.popitem(last=False)

    def clear(self) -> None:
        self._frames.clear()

    def read(self, index: int) -> np.ndarray:
        return self._frames.get(index, self._empty)


def count_near(mask: np.ndarray, spots: np.ndarray) -> int:
    """How many predicted spots have a pixel of the mask near them."""
    found = 0
    for spot in spots:
        r, c = round(float(spot["row"])), round(float(spot["col"]))
        near = np.s_[
            max(0, r - _NEAR_PX) : r + _NEAR_PX + 1, max(0, c - _NEAR_PX) : c + _NEAR_PX + 1
        ]
        found += bool(mask[near].any())
    return found
