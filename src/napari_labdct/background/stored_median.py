"""The rolling median of a scan, streamed once into a file and read from there afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from ..core.frame_store import FrameStore
from ..core.jobs import MEDIAN, FrameJob, Output
from ..core.parameters import Param, Settings
from ..core.recipes import recipe
from ..scan.scan import Scan
from .rolling_median import SPOT_WINDOW, RollingMedian


@dataclass(frozen=True, kw_only=True)
class MedianSettings(Settings):
    """The rolling median of a scan."""

    job: ClassVar[str] = "rolling median"

    median_window: Annotated[
        int,
        Param("Rolling median", "projections", 1, 361, 2, "Projections whose median is taken."),
    ] = SPOT_WINDOW


class MedianJob(FrameJob):
    """The rolling median of a whole scan, float32, counts.

    It has a window of its own, so a `StoredMedian` may be read in another thread meanwhile.

    Parameters
    ----------
    scan : Scan
    window : int
        Projections; cut to those there are.
    """

    name = "rolling median"
    settings_type = MedianSettings
    makes = MEDIAN
    suffix = "_median"
    scan: Scan
    settings: MedianSettings

    def __init__(self, scan: Scan, window: int) -> None:
        self.scan = scan
        self._stream = RollingMedian(scan, window)
        self.window, self.note = self._stream.window, self._stream.note
        self.settings = MedianSettings(median_window=self.window)

    @classmethod
    def _of(cls, scan: Scan, settings: MedianSettings, files: Mapping[str, Path]) -> Self:
        return cls(scan, settings.median_window)

    @property
    def output(self) -> Output:
        shape = (self.scan.n_frames, *self.scan.shape)
        return Output(shape, np.float32, orientation=self.scan.orientation)

    def frame(self, index: int) -> np.ndarray:
        return self._stream.at(index)

    def recipe(self) -> dict[str, Any]:
        """The frames, the window, and how it meets the ends."""
        return recipe(self.name, self.settings, self.scan, circular=self.scan.circular)


class StoredMedian:
    """A rolling median read from its file; a projection the file lacks is computed.

    Takes the place of a `RollingMedian` of the same window and gives the same values, without
    holding a window of projections once the file is whole.

    Parameters
    ----------
    scan : Scan
    window : int
    store : FrameStore
        Of a `MedianJob`.
    """

    def __init__(self, scan: Scan, window: int, store: FrameStore) -> None:
        self.scan, self.store = scan, store
        median = RollingMedian(scan, window)
        self.window, self.note = median.window, median.note
        self._live: RollingMedian | None = None

    def at(self, index: int) -> np.ndarray:
        """Median background of projection `index`, float32 ``(rows, cols)``."""
        if self.store.done[index]:
            self._live = None  # and its window of projections
            return self.store[index]
        self._live = self._live or RollingMedian(self.scan, self.window)
        return self._live.at(index)
