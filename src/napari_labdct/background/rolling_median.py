"""The rolling median of a scan: what of each projection does not move."""

from __future__ import annotations

import numpy as np

from ..scan.scan import Scan

_MOST = np.iinfo(np.int16).max  # what `step_median` counts to
#: Projections of the rolling median that spots are measured against, and of the routine.
SPOT_WINDOW = 11


class RollingMedian:
    """The median of a window of projections around each one, streamed through the stack.

    The window goes round the stack if the angles span 360 degrees (a repeated last view
    counts once), and is cut off at the ends otherwise.  Asking for frames in order costs one
    exchange a frame; any other order rebuilds the window.  Memory: the window.
    Blank projections tell nothing of the background and do not count, unless all are.

    Parameters
    ----------
    scan : Scan
    window : int
        Number of projections; even numbers are rounded up, more than the stack is cut to it.

    Attributes
    ----------
    note : str
        Empty, or one sentence for the user on how the window was cut.
    """

    def __init__(self, scan: Scan, window: int) -> None:
        self.scan = scan
        self._half = max(1, window // 2)
        self.note = ""
        count = scan.unique_frames
        if 2 * self._half + 1 > count:
            self._half = (count - 1) // 2
            self.note = (
                f"The median window of {window} was cut to the {count} projections of the scan."
            )
            if count < 5:
                self.note += " So few projections leave parts of spots in the median."
        self._frames: dict[int, int] = {}  # which of the window are in hand, and in what place
        self._blank: dict[int, float] = {}  # projections of the window that show one value
        self._window: np.ndarray | None = None  # (rows, projections, cols)
        self._median: np.ndarray | None = None  # of `_frames`, the lower one of an even number

    @property
    def window(self) -> int:
        """The window in use, an odd number of projections."""
        return 2 * self._half + 1

    def indices(self, index: int) -> list[int]:
        """The projections whose median is the background of projection `index`."""
        count = self.scan.unique_frames
        around = range(index - self._half, index + self._half + 1)
        if self.scan.circular:
            return sorted({i % count for i in around})
        return [i for i in around if 0 <= i < count]

    def at(self, index: int) -> np.ndarray:
        """Median background of projection `index`, float32 ``(rows, cols)``."""
        wanted = self.indices(index)
        self._blank = {i: value for i, value in self._blank.items() if i in wanted}
        leave = [i for i in self._frames if i not in wanted]
        if self._window is None or len(leave) > len(wanted) // 2:
            self._start(wanted[0])
            leave = []
        enter = [i for i in wanted if i not in self._frames and i not in self._blank]
        exchanged, others = self._take_in(enter, leave)
        for i in leave:
            self._drop(i)
            others = True
        if not self._frames:
            return np.full(self.scan.shape, np.median(list(self._blank.values())), np.float32)
        return self._middle(exchanged, others)

    def _start(self, index: int) -> None:
        """Begin with an empty window."""
        self._frames.clear()
        self._median = None
        dtype = self.scan.raw(index).dtype
        if self._window is None or self._window.dtype != dtype:
            rows, cols = self.scan.shape
            self._window = np.empty((rows, self.window, cols), dtype)

    def _take_in(self, enter: list[int], leave: list[int]) -> tuple[int, bool]:
        """Read projections into places that become free, else into new ones; how many of each."""
        exchanged, others = 0, False
        for i in enter:
            reading = self.scan.reading(i)
            if reading.blank:
                self._blank[i] = float(reading.image.flat[0])
                continue
            if leave:
                place = self._frames.pop(leave.pop())
                exchanged += 1
            else:
                place, others = len(self._frames), True
            self._in_rows("put", self._window, place, np.ascontiguousarray(reading.image))
            self._frames[i] = place
        return exchanged, others

    def _drop(self, index: int) -> None:
        """Take a projection out; the one in the last place takes its own."""
        place, last = self._frames.pop(index), len(self._frames)
        if place != last:
            moved = next(i for i, at in self._frames.items() if at == last)
            self._in_rows("move", self._window, last, place)
            self._frames[moved] = place

    def _middle(self, exchanged: int, others: bool) -> np.ndarray:
        count, dtype = len(self._frames), self._window.dtype
        out = np.empty(self.scan.shape, np.float32)
        # one of an odd number at a time: the median moves by one value at most
        if self._median is None or others or exchanged > 1 or count % 2 == 0 or count > _MOST:
            if self._median is None:
                self._median = np.empty(self.scan.shape, dtype)
            self._in_rows("sort_median", self._window, count, self._median, out)
            return out
        limits = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
        lowest, highest = dtype.type(limits.min), dtype.type(limits.max)
        self._in_rows("step_median", self._window, count, lowest, highest, self._median, out)
        return out

    def _in_rows(self, name: str, *arguments: object) -> None:
        from ..core import kernels, median_kernels

        kernels.in_row_blocks(getattr(median_kernels, name), self.scan.shape[0], *arguments)
