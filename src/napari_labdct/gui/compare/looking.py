"""What is on the screen, computed again whenever it changes; of many requests the last counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ...evaluation.comparison import FrameResult
from ..app.job import LatestJob
from ..app.session import Session
from .engine import Engine
from .request import FrameView, Request, Window

_TOGETHER_MS = 10  # several slider steps in one event are one request


class Looking(QObject):
    """Computes what the views show, in a worker.

    Parameters
    ----------
    session : Session
    request : callable
        Gives what is to be seen now, or None.
    parent : QObject

    Attributes
    ----------
    view : FrameView or None
        What was computed last of this scan.
    seen : signal(FrameView)
    measured : signal(FrameResult)
        The numbers of a projection, which come after its view.
    failed : signal(str)
    """

    seen = Signal(object)
    measured = Signal(object)
    failed = Signal(str)

    def __init__(
        self, session: Session, request: Callable[[], Request | None], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._request = request
        self.engine: Engine | None = None
        self.view: FrameView | None = None
        self.job = session.job("compare look")
        self._looks = LatestJob(self.job, self._start, cancels=True)
        self.job.delivered.connect(self._on_look)
        self.job.ended.connect(self._on_ended)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_TOGETHER_MS)
        self._soon.timeout.connect(self._look)

    @property
    def busy(self) -> bool:
        """Whether something is to be computed or is just being computed."""
        return self._soon.isActive() or self.job.running

    def follow(self, engine: Engine | None) -> None:
        """Look at another scan."""
        self.engine, self.view = engine, None

    def soon(self, *_: object) -> None:
        """Compute what is on the screen again, soon."""
        if self.engine is not None:
            self._soon.start()

    def _look(self) -> None:
        if self.engine is not None:
            self._looks.ask(self.engine)

    def _start(self, engine: Engine):
        request = self._request() if engine is self.engine else None
        return request and (lambda: engine.look(request), "Compare this projection")

    def _on_look(self, thing: FrameView | FrameResult) -> None:
        if isinstance(thing, FrameResult):
            if self.view is not None:  # else it is of the scan before
                self.measured.emit(thing)
        elif self.engine is not None and thing.request.scan is self.engine.scan:
            self.view = thing
            self.seen.emit(thing)

    def _on_ended(self, state: str) -> None:
        if state == "failed":
            self.failed.emit(self.job.error)


def window_seen(stack: Layer, shape: tuple[int, int]) -> Window | None:
    """The part of the projection on the screen, if it is clearly less than the whole."""
    (r0, c0), (r1, c1) = (corner[-2:] for corner in np.asarray(stack.corner_pixels))
    rows, cols = shape
    r0, r1 = (int(np.clip(r, 0, rows)) for r in (r0, r1 + 1))
    c0, c1 = (int(np.clip(c, 0, cols)) for c in (c0, c1 + 1))
    part = (r1 - r0) * (c1 - c0) / (rows * cols)
    return (r0, r1, c0, c1) if 0 < part < 0.5 else None
