"""Compare all: A and B over the whole scan, in a job that outlives its dock and can go on."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from ...evaluation.comparison import Comparison, FrameResult
from ...scan.scan import Scan
from ..app.session import Session
from .engine import Engine
from .tasks import Sides, Tally, compare_all


class CompareRun(QObject):
    """The comparison of a whole scan, and what it has counted so far.

    A run that was cancelled goes on where it stopped, by Resume or by Compare all, as long as A,
    B, the truth and the routine's parameters are the same.

    Attributes
    ----------
    result : Comparison
    tally : Tally or None
    counted : signal(Tally or None)
        More projections were counted, or the numbers no longer hold.
    """

    counted = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.job = session.job("compare")
        self.result = Comparison()
        self.tally: Tally | None = None
        self.sides: Sides | None = None
        self._key: tuple | None = None
        self._engine: Engine | None = None
        self.job.delivered.connect(self._on_delivered)
        self.job.ended.connect(self._on_ended)

    def engine(self, scan: Scan | None) -> Engine | None:
        """The engine of a scan; a reopened dock finds the one it had."""
        if scan is None:
            self._engine = None
        elif self._engine is None or self._engine.scan is not scan:
            self._engine = Engine(scan)
        return self._engine

    def start(self, sides: Sides) -> None:
        """Compare the projections that were not compared yet."""
        if self.job.running:
            return
        self.keep_only(sides)
        self.sides, self._key = sides, sides.key
        self.job.start(lambda: compare_all(sides, list(self.result.results.values())), "Compare")

    def keep_only(self, sides: Sides | None) -> None:
        """Forget the numbers unless they are of the same masks."""
        if self._key is None or (sides is not None and sides.key == self._key):
            return
        self._key = self.sides = self.tally = None
        self.result = Comparison()
        if self.job.running:
            self.job.cancel()
        else:
            self.job.discard()
        self.counted.emit(None)

    def _on_delivered(self, thing: object) -> None:
        if self._key is None:
            return  # what was compared has changed since
        if isinstance(thing, FrameResult):
            self.result.add(thing)
        elif isinstance(thing, Tally):
            self.tally = thing
            self.counted.emit(thing)

    def _on_ended(self, _state: str) -> None:
        if self._key is None:
            self.job.discard()
