"""Compare all: A and B over the whole scan, in a job that outlives its dock and can go on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject, Signal

from ...background.rolling_median import SPOT_WINDOW
from ...core.jobs import Progress
from ...evaluation.comparison import Comparison, FrameResult, Segmentation, compare
from ...scan.scan import Scan
from ...spots.log_routine import RoutineSettings
from ..app.session import Session
from .tasks import Engine, Source

_TELL_S = 1.0


@dataclass(frozen=True)
class Tally:
    """The numbers of the projections compared so far, ready to be shown.

    Parameters
    ----------
    numbers : dict
        As `Comparison.numbers` gives them.
    frames : structured array of `evaluation.FRAME_DTYPE`
    worst : list of int
        Projections by their unexplained bright pixels, most first.
    spread : dict of name to (middle, spots of A, spots of B)
        Histograms of SNR and area, like the paper's Fig. S1.
    by_snr : (array, array), optional
        A and B against the truth, rows of `evaluation.BIN_DTYPE`.
    """

    numbers: dict[str, float]
    frames: np.ndarray
    worst: list[int]
    spread: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    by_snr: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, result: Comparison) -> Tally:
        spots = [result.spots("a"), result.spots("b")]
        spread = {}
        for name in ("snr", "area_px"):
            values = [table[name] if table.size else np.zeros(0) for table in spots]
            both = np.concatenate(values)
            top = max(float(np.percentile(both, 98)) if both.size else 1.0, 1.0)
            step = top / 30 if name == "snr" else max(1.0, np.ceil(top / 30))  # whole pixels
            edges = np.arange(0, top + step, step) - (0 if name == "snr" else 0.5)
            counts = (np.histogram(v, edges)[0].astype(float) for v in values)
            spread[name] = ((edges[:-1] + edges[1:]) / 2, *counts)
        worst = [int(i) for i in result.worst_first("a")]
        by_snr = (result.by_snr("a"), result.by_snr("b")) if result.has_truth else None
        return cls(result.numbers(), result.frames, worst, spread, by_snr)


@dataclass(frozen=True, eq=False)
class Sides:
    """What is compared: the masks as they were when the run began.

    Parameters
    ----------
    engine : Engine
    sources : (Source, Source, Source or None)
        A, B and the truth.
    settings : RoutineSettings
        Of the live routine.
    """

    engine: Engine
    sources: tuple[Source, Source, Source | None]
    settings: RoutineSettings

    @property
    def key(self) -> tuple:
        """Equal for runs whose numbers must be equal."""
        states = [s and s.state(self.settings) for s in self.sources]
        return (self.engine, *states)

    def fixed(self) -> tuple[Segmentation, Segmentation, Segmentation | None]:
        """Masks with their recipes; reads a few projections, so call it in a worker."""
        scan, settings = self.engine.scan, self.settings
        median = self.engine.stored_median(settings.median_window)
        return tuple(s and s.fixed(scan, settings, median) for s in self.sources)

    def frames(self) -> list[int]:
        """Projections that all of them have by now."""
        done = np.ones(self.engine.scan.n_frames, bool)
        for source in self.sources:
            if source is not None and source.done is not None:
                done &= source.done()
        return [int(i) for i in np.flatnonzero(done)]


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


def compare_all(
    sides: Sides, known: Sequence[FrameResult] = ()
) -> Iterator[Progress | FrameResult | Tally]:
    """Compare projection after projection; results and, now and then, a `Tally` are handed on.

    Parameters
    ----------
    sides : Sides
    known : sequence of FrameResult
        Projections compared before, which are not compared again.
    """
    yield Progress(0, 0, "Starting")
    a, b, truth = sides.fixed()
    result = Comparison((a.name, b.name))
    for one in known:
        result.add(one)
    frames = sides.frames()
    todo = [i for i in frames if i not in result.results]
    done = len(frames) - len(todo)
    yield Progress(done, len(frames))
    engine, told = sides.engine, time.monotonic()
    stored = engine.stored_median(SPOT_WINDOW)
    for one in compare(engine.scan, a, b, truth, median=stored, frames=todo):
        done += 1
        result.add(one)
        yield one
        if time.monotonic() - told > _TELL_S or done == len(frames):
            yield Tally.of(result)
            told = time.monotonic()
        yield Progress(done, len(frames), frame=one.frame)


def read_recipes(sides: Sides) -> Iterator[tuple[Segmentation, Segmentation, Segmentation | None]]:
    """A, B and the truth with their recipes, which name the pixels they were made of."""
    yield sides.fixed()


def write_everything(
    folder: Path, sides: Sides, result: Comparison, overwrite: bool = False
) -> Iterator[Progress]:
    """Write CSV tables, pictures and the report of what was compared."""
    from ...evaluation import report

    yield Progress(0, 2)
    a, b, truth = sides.fixed()
    scan, frames = sides.engine.scan, sorted(result.results)
    output = report.report_folder(folder, scan, a, b, truth, frames=frames, overwrite=overwrite)
    with output.written():
        result.write_csv(folder)
        yield Progress(1, 2)
        report.write_report(folder, scan, a, b, result)
    yield Progress(2, 2, f"In {folder}")
