"""The rolling median of a scan: what of each projection does not move."""

from __future__ import annotations

import numpy as np

from ..scan.scan import Scan

#: Projections of the rolling median that spots are measured against, and of the routine.
SPOT_WINDOW = 11


class RollingMedian:
    """The median of a window of projections around each one, streamed through the stack.

    The window goes round the stack if the angles span 360 degrees (a repeated last view
    counts once), and is cut off at the ends otherwise.  Asking for frames in order costs one
    insertion a frame; any other order rebuilds the window.  Memory: twice the window.
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
        self._frames: dict[int, np.ndarray] = {}
        self._blank: dict[int, float] = {}  # projections of the window that show one value
        self._ordered: np.ndarray | None = None

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
        from ..core import kernels

        wanted = self.indices(index)
        rows = self.scan.shape[0]
        self._blank = {i: value for i, value in self._blank.items() if i in wanted}
        leave = [i for i in self._frames if i not in wanted]
        if self._ordered is None or len(leave) > len(wanted) // 2:
            self._frames.clear()
            leave = []
            sample = self.scan.raw(wanted[0])
            if self._ordered is None or self._ordered.dtype != sample.dtype:
                self._ordered = np.empty((*self.scan.shape, self.window), sample.dtype)
        enter = [i for i in wanted if i not in self._frames and i not in self._blank]
        for i in enter:
            reading = self.scan.reading(i)
            if reading.blank:
                self._blank[i] = float(reading.image.flat[0])
                continue
            image = np.ascontiguousarray(reading.image)
            count = len(self._frames)
            if leave:
                old = self._frames.pop(leave.pop())
                kernels.in_row_blocks(
                    kernels.replace_sorted, rows, self._ordered, count, old, image
                )
            else:
                kernels.in_row_blocks(kernels.insert_sorted, rows, self._ordered, count, image)
            self._frames[i] = image
        for i in leave:
            count = len(self._frames)
            old = self._frames.pop(i)
            kernels.in_row_blocks(kernels.remove_sorted, rows, self._ordered, count, old)
        if not self._frames:
            return np.full(self.scan.shape, np.median(list(self._blank.values())), np.float32)
        out = np.empty(self.scan.shape, np.float32)
        kernels.in_row_blocks(kernels.middle, rows, self._ordered, len(self._frames), out)
        return out
