"""A training in its own process, watched as a `Job` is: the window stays alive.

What the process says is read from its folder (`train_runs`); it is stopped by a note left
there. A process that this window did not start, or was told to outlive it, is followed the same
way.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time

from qtpy.QtCore import QCoreApplication, QObject, QProcess, QTimer, Signal

from ...core.errors import OutputError
from ...core.jobs import Progress
from ..app.job import WatchedJob
from .runs import STOP, Curve, LogTail, Run

_LOOK_MS = 300
# After Stop: until the process is asked by a signal, and until it is ended by force.
_PATIENCE_MS, _FORCE_MS = 120_000, 30_000
_KEPT_CHARACTERS = 20_000
# A process of elsewhere that wrote nothing for so long is another one with the same number.
_SILENT_S = 600

#: Processes of closed windows that are writing their last checkpoint.
leaving: list[QProcess] = []


class TrainingJob(WatchedJob):
    """The state of one training process.

    Attributes
    ----------
    run : Run or None
        What is shown: running, over, or chosen from the list.
    curve : Curve
        What its log says so far.
    curve_changed : signal
    """

    curve_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent, _LOOK_MS)
        self.run: Run | None = None
        self.keep_going = False
        self._tail: LogTail | None = None
        self._process: QProcess | None = None
        self._said = ""
        self._asked_to_stop = False
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._insist)

    @property
    def curve(self) -> Curve:
        return Curve() if self._tail is None else self._tail.curve

    @property
    def resumable(self) -> bool:
        known = self.run is not None and self.run.resumable
        return known and self.state in ("stopped", "failed")

    @property
    def seconds_per_step(self) -> float | None:
        return self.curve.seconds_each if self.running else None

    # ------------------------------------------------------------------ start and follow

    def show_run(self, run: Run, state: str) -> None:
        """Show a run that is there: ``running`` in another process, or over.

        Its log is read a piece at a time, as a growing one is.
        """
        if self.running:
            return
        self._begin(run)
        self.state, self.error = state, run.error
        self._timer.start()
        self._look()

    def start_run(self, run: Run, keep_going: bool = False) -> None:
        """Start the process of a run, or go on with it.

        Parameters
        ----------
        run : Run
        keep_going : bool
            The process outlives the window.
        """
        if self.running:
            return
        self._begin(run)
        self.keep_going = keep_going
        self.state = "running"
        run.ended = run.error = ""
        try:
            run.save()
            (run.files / STOP).unlink(missing_ok=True)
            self._launch(run)
            run.save()
        except (OSError, OutputError) as error:
            self._end("failed", str(error))
            return
        self._timer.start()
        self.changed.emit()

    def _begin(self, run: Run) -> None:
        self.run, self._tail = run, LogTail(run)
        self.title = f"Train {run.title}"
        self.error = self.details = self.note = self._said = ""
        self._asked_to_stop = False
        self.progress = Progress(0, 0, "Starting")
        self.curve_changed.emit()

    def _launch(self, run: Run) -> None:
        program, *arguments = run.program
        process = QProcess(self)
        process.setProgram(program)
        process.setArguments(arguments)
        process.setWorkingDirectory(str(run.folder))
        process.setStandardInputFile(QProcess.nullDevice())
        process.setStandardOutputFile(QProcess.nullDevice())
        if self.keep_going:
            process.setStandardErrorFile(str(run.folder / "output.txt"))
            started, run.pid = process.startDetached()
            process.deleteLater()
            if not started:
                raise OutputError(f"The training cannot be started: {process.errorString()}.")
            return
        process.readyReadStandardError.connect(self._listen)
        process.finished.connect(self._on_finished_process)
        process.errorOccurred.connect(self._on_process_error)
        self._process = process
        process.start()
        run.pid = int(process.processId())

    def resume(self) -> None:
        if self.resumable:
            self.start_run(self.run, self.keep_going)

    def discard(self) -> None:
        """Show no run; its files stay."""
        if not self.running:
            self._timer.stop()
            self.run = self._tail = None
            self.progress = Progress(0, 0)
            self.curve_changed.emit()
        super().discard()

    def _look(self) -> None:
        if self._tail.read():
            self._follow()
        elif not self.running:  # a run that is over, read to its end
            self._timer.stop()
        if self._process is None and self.running and not self.run.alive:
            self._over(None)
        elif self._process is None and self.running:
            self._read_output()
        if self.running and not self.curve.total:
            self.progress = Progress(0, 0, preparing(self._said))
        self.changed.emit()

    def _follow(self) -> None:
        curve = self.curve
        if curve.total:
            self.progress = Progress(curve.done, curve.total)
            self.note = f"Stage: {curve.stage}." if curve.stage and self.running else ""
        self.curve_changed.emit()

    def _listen(self) -> None:
        new = bytes(self._process.readAllStandardError()).decode(errors="replace")
        self._said = (self._said + new)[-_KEPT_CHARACTERS:]

    def _read_output(self) -> None:
        try:
            with (self.run.folder / "output.txt").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _KEPT_CHARACTERS))
                self._said = file.read().decode(errors="replace")
        except OSError:
            return

    # --------------------------------------------------------------------------- the end

    def cancel(self) -> None:
        """Ask the training to write a checkpoint and end."""
        if self.state != "running":
            return
        self.state = "cancelling"
        self._asked_to_stop = True
        try:
            self.run.ask_to_stop()
        except OutputError:  # a full disk takes no note: ask by signal
            if self._process is not None:
                self._process.terminate()
        self._patience.start(_PATIENCE_MS)
        self.changed.emit()

    def _insist(self) -> None:
        """The note was not heeded: ask by signal, then end it by force."""
        process = self._process
        if process is None and _silent_s(self.run) > _SILENT_S:
            self._end("stopped")  # another process got the number of one that died unseen
        elif process is None:
            self.note = "It does not answer yet; it was started elsewhere, so end it there."
            self._patience.start(_PATIENCE_MS)
            self.changed.emit()
        elif self._patience.interval() == _PATIENCE_MS:
            process.terminate()
            self._patience.start(_FORCE_MS)
        else:
            process.kill()

    def _on_process_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            sentence = f"The training cannot be started: {self._process.errorString()}."
            self._drop_process()
            self._end("failed", sentence)

    def _on_finished_process(self, code: int, status: QProcess.ExitStatus) -> None:
        self._listen()
        self._drop_process()
        self._over(-1 if status == QProcess.ExitStatus.CrashExit else code)

    def _drop_process(self) -> None:
        process, self._process = self._process, None
        process.deleteLater()

    def _over(self, code: int | None) -> None:
        """The process is gone, with this exit status if anybody knows it."""
        while self._tail.read():
            pass
        self._follow()
        if code is None:
            self._read_output()
        sentence = fault_of(self._said)
        if code is None:  # nobody is told the exit status of another's child
            code = 1 if sentence else 0
        if code == 0:
            finished = self.curve.complete and self.run.best is not None
            self._end("done" if finished else "stopped")
        elif code == 130 or (self._asked_to_stop and not sentence):
            self._end("stopped")
        else:
            self._end("failed", sentence or self._why(code))

    def _why(self, code: int) -> str:
        if not self.run.folder.is_dir():
            return f"The folder {self.run.folder} is gone; train anew."
        if shutil.disk_usage(self.run.folder).free < 1 << 24:
            return f"The disk of {self.run.folder} is full; free some space, then resume."
        if code < 0 or code == 137:
            return (
                "The training was ended from outside, perhaps because memory was full; close "
                "other programs or choose a smaller batch, then resume."
            )
        lines = [line for line in self._said.splitlines() if line.strip()]
        last = lines[-1].strip() if lines else f"exit status {code}"
        return f"The training broke off ({last}); the details help us."

    def _end(self, state: str, error: str = "") -> None:
        self._timer.stop()
        self._patience.stop()
        self.state, self.error, self.note = state, error, ""
        if state == "failed" and "the details" in error:
            self.details = self._said
        self.run.ended, self.run.error = state, error
        try:
            self.run.save()
        except OutputError as fault:
            self.error = self.error or str(fault)
        self.changed.emit()
        self.ended.emit(state)

    def close(self) -> None:
        """The window closes: a training that may not outlive it writes a checkpoint and ends."""
        self._timer.stop()
        self._patience.stop()
        process, self._process = self._process, None
        if process is not None:
            process.readyReadStandardError.disconnect(self._listen)
            process.finished.disconnect(self._on_finished_process)
            process.errorOccurred.disconnect(self._on_process_error)
            let_go(process, self.run)
        self.state = "idle"


def let_go(process: QProcess, run: Run) -> None:
    """Let a process end by itself, watched by the application instead of a window."""
    process.setParent(None)
    leaving.append(process)
    app = QCoreApplication.instance()

    def gone(*_: object) -> None:
        if process in leaving:
            leaving.remove(process)
            run.ended = "stopped"
            with contextlib.suppress(OutputError):  # nobody is there to be told
                run.save()
            process.deleteLater()

    process.finished.connect(gone)
    app.aboutToQuit.connect(_wait_for_leaving)
    try:
        run.ask_to_stop()
    except OutputError:
        process.terminate()


def _wait_for_leaving() -> None:
    """The application ends: what is left has a moment to write its checkpoint."""
    for process in list(leaving):
        process.terminate()
        if not process.waitForFinished(20_000):
            process.kill()
            process.waitForFinished(5_000)


def _silent_s(run: Run) -> float:
    """How long a run has written nothing."""
    newest = max((p.stat().st_mtime for p in run.files.glob("*")), default=0.0)
    return time.time() - newest


def preparing(said: str) -> str:
    """What a training does before its first iteration, as far as its progress bar says."""
    found = re.findall(r"(\d+)%\|", said)
    return f"Preparing, {found[-1]} %" if found else "Starting"


def fault_of(said: str) -> str:
    """The sentence with which a ``labdct`` command fails, from what it said on stderr."""
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines()]
    found = [line.removeprefix("labdct: ") for line in lines if line.startswith("labdct: ")]
    return found[-1] if found else ""
