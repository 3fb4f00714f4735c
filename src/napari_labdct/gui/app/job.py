"""One long job: a generator of `Progress` run by a worker, and what a dock may know of it.

The generator is made and run in the worker's thread, so that opening files, loading a model
and hashing frames never happen in a slot.  Whatever it yields that is not a `Progress` is
handed to the GUI thread as it is (`Job.delivered`): that is how a job passes the store it
writes to.  Progress itself is not signalled: a timer looks at it ten times a second.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from napari.qt.threading import GeneratorWorkerSignals, WorkerBase, create_worker
from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal

from ...core.errors import LabDCTError
from ...core.jobs import Progress

INTERVAL_MS = 100

Make = Callable[[], Generator[Any, None, None]]

_here = threading.local()


class Stopped(Exception):
    """Raised by `report` in a worker whose job was cancelled."""


def report(step: Progress) -> None:
    """Tell how far a job is, from code in a worker that cannot yield.

    Raises
    ------
    Stopped
        The user cancelled.
    """
    worker = getattr(_here, "worker", None)
    if worker is not None:
        worker.note_step(step)
        if worker.abort_requested:
            raise Stopped


class _Titled:
    """A job's maker under the name that napari shows when it asks before closing."""

    def __init__(self, make: Make, title: str) -> None:
        self.make = make
        self.title = title

    def __repr__(self) -> str:
        return self.title


_workers: weakref.WeakSet[JobWorker] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Python must not end under a thread that still signals."""
    for worker in list(_workers):
        worker.quit()
    if _workers:
        QThreadPool.globalInstance().waitForDone(30_000)


class JobSignals(GeneratorWorkerSignals):
    """Those of napari, and a fault that hands nothing on; see `JobWorker.errored`."""

    failed = Signal()


class JobWorker(WorkerBase):
    """Runs one generator; stops between two steps when asked to, and always closes it."""

    def __init__(self, titled: _Titled) -> None:
        super().__init__(SignalsClass=JobSignals)
        self._titled = titled
        self._lock = threading.Lock()
        self._frames: list[int] = []
        self.latest = Progress(0, 0, "Starting")
        self.note = self._of_all = ""
        self.stopped = False
        self.error: Exception | None = None
        _workers.add(self)

    @property
    def errored(self) -> Any:
        """The signal of a fault, which is in `error`.

        napari connects it to a function that takes no argument: PyQt6 leaves the fault out then,
        but PySide6 hands it on, which would be a second fault.
        """
        return self.failed

    def work(self) -> None:
        limit_threads()
        _here.worker = self
        try:
            job = self._titled.make()
            try:
                self._follow(job)
            finally:
                job.close()
        except Stopped:
            self.stopped = True
            self.aborted.emit()
        except Exception as error:
            self.error = error
            self.errored.emit()
        finally:
            _here.worker = None

    def _follow(self, job: Generator[Any, None, None]) -> None:
        for step in job:
            if isinstance(step, Progress):
                self.note_step(step)
            elif not self.abort_requested:
                self.yielded.emit(step)
            if self.abort_requested:
                done = isinstance(step, Progress) and 0 < step.total == step.done
                self.stopped = not done
                self.aborted.emit()
                return

    def note_step(self, step: Progress) -> None:
        """Keep a step for the next look of the GUI."""
        with self._lock:
            self.latest = step
            if step.message and step.total:
                # a remark on one frame does not push out what was said of all
                if step.frame is None:
                    self._of_all = ""
                self.note = f"{self._of_all} {step.message}".strip()
                if step.frame is None:
                    self._of_all = step.message
            if step.frame is not None:
                self._frames.append(step.frame)

    def take_frames(self) -> list[int]:
        """Frames written since the last call."""
        with self._lock:
            taken, self._frames = self._frames, []
        return taken


def limit_threads() -> None:
    """Leave one core to the window where there are three or more.

    On two cores the window answers as quickly with both at work (benchmarks/gui_latency.py).
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        cores = os.cpu_count() or 2
        torch.set_num_threads(min(torch.get_num_threads(), max(2, cores - 1)))


class WatchedJob(QObject):
    """What a run bar shows of a long job, whatever does the work.

    A kind of job adds ``resumable``, ``seconds_per_step``, ``cancel()``, ``resume()`` and
    ``close()``, and `_look`, which a timer calls while the work goes on.

    Attributes
    ----------
    state : str
        ``idle``, ``running``, ``cancelling``, ``done``, ``stopped`` or ``failed``.
    progress : Progress
        The last step.
    error, details : str
        One sentence for the user, and the traceback of a fault nobody foresaw.
    changed : signal
        State or progress changed; at most ten times a second while running.
    ended : signal(str)
        The final state.
    """

    changed = Signal()
    ended = Signal(str)

    def __init__(self, parent: QObject | None = None, interval_ms: int = INTERVAL_MS) -> None:
        super().__init__(parent)
        self.state = "idle"
        self.title = ""
        self.progress = Progress(0, 0)
        self.note = ""
        self.error = ""
        self.details = ""
        self._timer = QTimer(self)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether somebody is at work, stopping included."""
        return self.state in ("running", "cancelling")

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the end."""
        each = self.seconds_per_step
        return None if each is None else each * (self.progress.total - self.progress.done)

    def discard(self) -> None:
        """Forget a job that stopped or failed; deleting its frames is up to its owner."""
        if not self.running:
            self.state = "idle"
            self.error = self.details = self.note = ""
            self.changed.emit()


class Job(WatchedJob):
    """The state of one long job in a worker thread, whichever dock shows it.

    Attributes
    ----------
    delivered : signal(object)
        Something the job yielded that is not a `Progress`.
    frames_done : signal(list of int)
        Frames written since the last time.
    """

    delivered = Signal(object)
    frames_done = Signal(list)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._make: Make | None = None
        self._worker: JobWorker | None = None
        self._first_done: tuple[float, int] | None = None
        self._waiting: deque[tuple[Make, str]] = deque()

    @property
    def resumable(self) -> bool:
        """Whether the job stopped before its end and can go on."""
        return self.state in ("stopped", "failed") and self._make is not None

    @property
    def seconds_per_step(self) -> float | None:
        """Mean time of a step so far, not counting steps that were done before."""
        if self._first_done is None:
            return None
        since, done = self._first_done
        steps = self.progress.done - done
        return (time.monotonic() - since) / steps if steps > 0 else None

    def start(self, make: Make, title: str) -> None:
        """Run the generator that `make` returns, in a worker.

        Parameters
        ----------
        make : callable
            Called in the worker; opens what the job needs and returns a generator of
            `Progress` (and of anything to hand to `delivered`).
        title : str
            What the job is, for example ``"Denoise iron"``.
        """
        if self.running:
            return
        self._make, self.title = make, title
        self.error = self.details = self.note = ""
        self.progress = Progress(0, 0, "Starting")
        self._first_done = None
        self.state = "running"
        worker = create_worker(
            _Titled(make, title), _worker_class=JobWorker, _ignore_errors=True, _start_thread=False
        )
        worker.yielded.connect(self._on_delivered)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        self._timer.start()
        worker.start()
        self.changed.emit()

    def queue(self, make: Make, title: str) -> None:
        """As `start`, once what runs now and what waits already has ended."""
        self._waiting.append((make, title))
        self._start_next()

    def _start_next(self) -> None:
        if self._waiting and not self.running:
            self.start(*self._waiting.popleft())

    def cancel(self) -> None:
        """Stop after the step in hand, and forget what waits."""
        self._waiting.clear()
        if self.state == "running" and self._worker is not None:
            self.state = "cancelling"
            self._worker.quit()
            self.changed.emit()

    def resume(self) -> None:
        """Go on with a job that stopped or failed."""
        if self.resumable:
            self.start(self._make, self.title)

    def discard(self) -> None:
        if not self.running:
            self._make = None
        super().discard()

    def close(self) -> None:
        """Stop for good: nobody is looking any more."""
        self._timer.stop()
        worker, self._worker = self._worker, None
        self._make = None
        self._waiting.clear()
        self.state = "idle"
        if worker is not None:
            worker.yielded.disconnect(self._on_delivered)
            worker.errored.disconnect(self._on_error)
            worker.finished.disconnect(self._on_finished)
            worker.quit()

    def _look(self) -> None:
        if self._worker is None:
            return
        self._take(self._worker)
        self.changed.emit()

    def _take(self, worker: JobWorker) -> None:
        self.progress = worker.latest
        if self.progress.total and self._first_done is None:
            self._first_done = (time.monotonic(), self.progress.done)
        self.note = worker.note
        frames = worker.take_frames()
        if frames:
            self.frames_done.emit(frames)

    def _on_delivered(self, thing: object) -> None:
        self.delivered.emit(thing)

    def _on_error(self) -> None:
        if self._worker is not None and self._worker.error is not None:
            self.error, self.details = explain(self._worker.error)

    def _on_finished(self) -> None:
        worker, self._worker = self._worker, None
        self._timer.stop()
        if worker is None:
            return
        self._take(worker)
        if self.error:
            self.state = "failed"
        elif worker.stopped:
            self.state = "stopped"
        else:
            self.state = "done"
        self.changed.emit()
        self.ended.emit(self.state)
        self._start_next()


class LatestJob(QObject):
    """Answers requests that come quicker than a worker can: only the latest one waits.

    Parameters
    ----------
    job : Job
        Whose worker answers; nobody else starts it.
    make : callable
        From a request to what `Job.start` takes, or None if it needs no answer any more. Called
        when its turn has come, in the GUI's thread.
    cancels : bool
        A new request stops the one at work instead of waiting for its end.
    """

    def __init__(
        self, job: Job, make: Callable[[Any], tuple[Make, str] | None], *, cancels: bool = False
    ) -> None:
        super().__init__(job)
        self.job = job
        self._of = make
        self._cancels = cancels
        self._waiting: list[Any] = []  # none or one
        job.ended.connect(self._next)

    def ask(self, request: Any) -> None:
        """Answer this request, as soon as the one at work has ended."""
        self._waiting = [request]
        if not self.job.running:
            self._next()
        elif self._cancels:
            self.job.cancel()

    def forget(self) -> None:
        """Drop the request that waits."""
        self._waiting = []

    def _next(self, _state: str = "") -> None:
        if not self._waiting:
            return
        request = self._waiting.pop()
        made = self._of(request)
        if made is not None:
            self.job.start(*made)


def explain(error: BaseException) -> tuple[str, str]:
    """One sentence for the user, and a traceback if nobody foresaw the fault."""
    if isinstance(error, LabDCTError):
        return str(error), ""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "Memory is full; close other programs or choose the CPU, then resume.", details
    kind = type(error).__name__
    return f"Something unforeseen went wrong ({kind}: {error}); the details help us.", details
