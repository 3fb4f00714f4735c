"""Corrections one after the other: a worker makes an edit and measures the projection anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from ...core.errors import LabDCTError
from ..app.job import Job
from . import tasks as spots_work
from .tasks import Corrected, Corrector

Task = Callable[[], Callable | None]
_SETTLE_MS = 250


class CorrectionQueue(QObject):
    """Steps of one review, which are made in the order they were asked for.

    Parameters
    ----------
    job : Job
        Whose worker makes them.

    Attributes
    ----------
    corrector : Corrector or None
        Of the present review; without one nothing is begun.
    said : signal(str)
        Why a step was refused.
    ended, settled : signal
        A step has ended; and, after it, the next one that waits has begun.
    """

    said = Signal(str)
    ended = Signal()
    settled = Signal()

    def __init__(self, job: Job, parent: QObject) -> None:
        super().__init__(parent)
        self._job = job
        self.corrector: Corrector | None = None
        self._tasks: deque[Task] = deque()
        self._written: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self.flush_paint)
        job.ended.connect(self._on_ended)

    @property
    def waiting(self) -> bool:
        """Whether steps or strokes wait for their turn."""
        return bool(self._tasks or self._written)

    @property
    def busy(self) -> bool:
        """Whether steps are at work or wait."""
        return self.waiting or self._job.running

    def add(self, task: Task) -> None:
        """Do a step when its turn has come; it returns what the job is to run, or None."""
        self._tasks.append(task)
        self._next()

    def correct(self, make: Callable[[Corrector], Corrected]) -> None:
        """Make an edit when its turn has come."""
        corrector = self.corrector
        if corrector is not None:
            self.add(lambda: lambda: spots_work.correct(lambda: make(corrector)))

    def write(self, frame: int, index: np.ndarray, ids: np.ndarray) -> None:
        """Pixels of a stroke, which become one step once the brush has rested."""
        self._written.append((frame, index, ids))
        self._settle.start()

    def flush_paint(self) -> None:
        """Hand the pixels drawn since the last time to the worker, one step a projection."""
        self._settle.stop()
        written, self._written = self._written, []
        for frame in sorted({w[0] for w in written}):
            index, ids = (
                np.concatenate([w[k] for w in written if w[0] == frame][::-1]) for k in (1, 2)
            )
            index, last = np.unique(index, return_index=True)  # the latest stroke counts
            self.correct(lambda c, f=frame, i=index, v=ids[last]: c.painted(f, i, v))

    def _next(self) -> None:
        while self._tasks and not self._job.running and self.corrector is not None:
            task = self._tasks.popleft()
            try:
                make = task()
            except LabDCTError as error:
                self.said.emit(str(error))
                continue
            if make is not None:
                self._job.start(make, "Correct spots")

    def _on_ended(self, state: str) -> None:
        if state == "failed":
            self.said.emit(self._job.error)
        self.ended.emit()
        self._next()
        self.settled.emit()
