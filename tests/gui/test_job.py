"""Jobs and the run bar: start, cancel, resume, fail, and never spin on."""

from __future__ import annotations

import threading

import pytest
from clicking import click
from qtpy.QtCore import QThread

from napari_labdct.core.errors import ScanError
from napari_labdct.core.jobs import Progress
from napari_labdct.gui.app.job import Job, report
from napari_labdct.gui.widgets.run_bar import RunBar

pytestmark = pytest.mark.gui


@pytest.fixture
def job(qtbot):
    job = Job()
    yield job
    job.close()
    job.deleteLater()


@pytest.fixture
def bar(qtbot, job):
    bar = RunBar(job, "Denoise")
    qtbot.addWidget(bar)
    bar.show()
    return bar


class Steps:
    """A job of five frames that waits for the test before each; it goes on where it stopped."""

    def __init__(self) -> None:
        self.done = 0
        self.gate = threading.Semaphore(0)
        self.closed = 0
        self.fail_at: int | None = None

    def __call__(self):
        try:
            yield Progress(self.done, 5)
            while self.done < 5:
                assert self.gate.acquire(timeout=30)
                if self.done == self.fail_at:
                    self.fail_at = None
                    raise ScanError("Projection 2 holds NaN; replace it.")
                self.done += 1
                yield Progress(self.done, 5, frame=self.done - 1)
        finally:
            self.closed += 1

    def allow(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


def test_runs_to_the_end_in_a_worker(job, bar, wait):
    threads = []

    def make():
        threads.append(QThread.currentThread())
        yield "a store"
        yield Progress(1, 1, "The window was cut.", frame=0)

    main, handed, seen, ended = QThread.currentThread(), [], [], []
    job.delivered.connect(handed.append)
    job.frames_done.connect(seen.extend)
    job.ended.connect(ended.append)
    job.start(make, "test")
    assert bar.button.text() == "Cancel"
    wait(lambda: bool(ended))
    assert ended == ["done"]
    assert handed == ["a store"]
    assert seen == [0]
    assert threads[0] is not main
    assert bar.button.text() == "Denoise"
    assert bar.button.isEnabled()
    assert bar.label.text() == "Done: 1 projection. The window was cut."


def test_cancel_stops_within_a_frame_and_resume_goes_on(job, bar, wait):
    steps = Steps()
    job.start(steps, "test")
    steps.allow(2)
    wait(lambda: job.progress.done == 2)
    assert bar.bar.format() == "2 / 5"
    click(bar.button)
    assert job.state == "cancelling"
    assert bar.button.text() == "Cancelling..."
    assert not bar.button.isEnabled()
    steps.allow(1)
    wait(lambda: job.state == "stopped")
    assert steps.done == 3
    assert steps.closed == 1
    assert bar.label.text() == "Stopped at 3 of 5."
    assert bar.button.isEnabled()
    assert bar.resume_button.isVisible()
    assert bar.discard_button.isVisible()
    steps.allow(5)
    click(bar.resume_button)
    wait(lambda: job.state == "done")
    assert steps.done == 5
    assert not bar.resume_button.isVisible()


def test_cancel_during_the_first_frame(job, bar, wait):
    steps = Steps()
    job.start(steps, "test")
    wait(lambda: job.progress.total == 5)
    click(bar.button)
    steps.allow(1)
    wait(lambda: job.state == "stopped")
    assert steps.done == 1
    assert steps.closed == 1


def test_cancel_before_anything_is_opened(job, wait):
    gate = threading.Event()

    def make():
        gate.wait(30)
        yield Progress(0, 3)
        raise AssertionError("ran on after it was cancelled")

    job.start(make, "test")
    job.cancel()
    gate.set()
    wait(lambda: job.state == "stopped")


def test_a_fault_is_one_sentence_and_the_bar_clears(job, bar, wait):
    steps = Steps()
    steps.fail_at = 1
    job.start(steps, "test")
    steps.allow(6)  # the one that fails takes one too
    wait(lambda: job.state == "failed")
    assert bar.label.text() == "Projection 2 holds NaN; replace it."
    assert not bar.bar.isVisible()
    assert bar.button.text() == "Denoise"
    assert bar.button.isEnabled()
    assert not bar.details_button.isVisible()
    click(bar.resume_button)
    wait(lambda: job.state == "done")


def test_a_fault_nobody_foresaw_has_details(job, bar, wait):
    def make():
        yield Progress(0, 1)
        raise KeyError("weights")

    job.start(make, "test")
    wait(lambda: job.state == "failed")
    assert "KeyError" in bar.label.text()
    assert "\n" not in bar.label.text()
    assert bar.details_button.isVisible()
    click(bar.details_button)
    assert "Traceback" in bar.details.toPlainText()
    assert bar.details.isVisible()


def test_a_fault_while_opening_clears_the_bar(job, bar, wait):
    def make():
        raise ScanError("No scan is open; open one first.")

    job.start(make, "test")
    wait(lambda: job.state == "failed")
    assert bar.label.text() == "No scan is open; open one first."


def test_memory_full_says_what_to_do(job, bar, wait):
    def make():
        yield Progress(0, 1)
        raise MemoryError

    job.start(make, "test")
    wait(lambda: job.state == "failed")
    assert "Memory is full" in bar.label.text()


def test_queued_jobs_run_one_after_the_other(job, wait):
    order = []

    def write(name):
        def make():
            yield Progress(0, 1)
            order.append(name)
            yield Progress(1, 1)

        return make

    for name in "abc":
        job.queue(write(name), name)
    wait(lambda: order == ["a", "b", "c"] and not job.running)
    assert job.title == "c"


def test_report_serves_code_that_cannot_yield(job, wait):
    at_one, stop = threading.Event(), threading.Event()

    def make():
        yield Progress(0, 3)
        report(Progress(1, 3))
        at_one.set()
        stop.wait(30)
        report(Progress(2, 3))
        raise AssertionError("went on after it was cancelled")

    job.start(make, "test")
    wait(at_one.is_set)
    job.cancel()
    stop.set()
    wait(lambda: job.state == "stopped")
    assert job.progress.done == 2
    report(Progress(0, 1))  # outside a worker it does nothing


def test_the_gui_looks_ten_times_a_second_at_most(job, qtbot, wait):
    changes = []
    job.changed.connect(lambda: changes.append(1))

    def make():
        for index in range(2000):
            yield Progress(index + 1, 2000, frame=index)

    frames = []
    job.frames_done.connect(frames.extend)
    job.start(make, "test")
    wait(lambda: job.state == "done")
    assert frames == list(range(2000))
    assert len(changes) < 200


def test_close_stops_the_worker_and_nothing_is_signalled(job, wait):
    steps, seen = Steps(), []
    job.ended.connect(seen.append)
    job.start(steps, "test")
    wait(lambda: job.progress.total == 5)
    job.close()
    steps.allow(5)
    wait(lambda: steps.closed == 1)
    assert steps.done <= 1
    assert seen == []


def test_discard_forgets(job, bar, wait):
    steps = Steps()
    job.start(steps, "test")
    wait(lambda: job.progress.total == 5)
    job.cancel()
    steps.allow(1)
    wait(lambda: job.state == "stopped")
    asked = []
    bar.discard_requested.connect(lambda: asked.append(1))
    click(bar.discard_button)
    assert asked == [1]
    job.discard()
    assert not job.resumable
    assert not bar.resume_button.isVisible()
    assert bar.label.text() == ""


def test_run_is_refused_with_a_reason(job, bar):
    bar.set_ready(False, "Open a scan first")
    assert not bar.button.isEnabled()
    assert bar.button.toolTip() == "Open a scan first"
    asked = []
    bar.run_requested.connect(lambda: asked.append(1))
    bar.set_ready(True)
    click(bar.button)
    assert asked == [1]


def test_a_fault_hands_nothing_to_those_who_only_want_to_know_of_it(job, wait):
    """napari's own handler takes no argument, and PySide6 does not leave any out."""
    handed, make = [], Steps()
    make.fail_at = 0
    job.start(make, "Denoise")
    job._worker.errored.connect(lambda *arguments: handed.append(arguments))
    make.allow(1)
    wait(lambda: job.state == "failed")
    assert handed == [()]
    assert job.error == "Projection 2 holds NaN; replace it."
