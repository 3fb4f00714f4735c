"""The rolling median of a scan, streamed once into a file and read from there afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.frame_store import FrameStore
from ..core.jobs import Progress, fill
from ..core.recipes import recipe
from ..scan.scan import Scan
from .rolling_median import RollingMedian


def median_recipe(scan: Scan, window: int) -> dict[str, Any]:
    """What a stored rolling median is made of: the frames, the window, how it meets the ends."""
    window = RollingMedian(scan, window).window
    return recipe("rolling median", {"median_window": window}, scan, circular=scan.circular)


def open_median(scan: Scan, window: int, path: str | Path) -> FrameStore:
    """The file a rolling median goes to, new or to be gone on with; float32, counts."""
    shape = (scan.n_frames, *scan.shape)
    made = median_recipe(scan, window)
    return FrameStore.open_or_create(
        path, shape, np.float32, made, orientation=scan.orientation, inputs=[scan]
    )


class StoredMedian:
    """A rolling median read from its file; a projection the file lacks is computed.

    Takes the place of a `RollingMedian` of the same window and gives the same values, without
    holding a window of projections once the file is whole.

    Parameters
    ----------
    scan : Scan
    window : int
    store : FrameStore
        From `open_median`.
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

    def run(self, frames: Iterable[int] | None = None) -> Iterator[Progress]:
        """Stream the projections the file lacks, in order, one `Progress` each.

        It has a window of its own, so `at` may be called in another thread meanwhile.
        """
        stream = RollingMedian(self.scan, self.window)
        yield from fill(self.store, stream.at, frames, self.note)
