"""A training as files: its folder, what its log says so far, and the command that runs it.

The window and the training share nothing but a folder, so either may go without the other.
Nothing here needs Qt.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ModelError
from ...core.files import cannot_write, write_atomically
from ...core.npz import read_npz
from ...core.reading import load_json
from ...core.schema import NUMBER, check
from ...training.log_lines import log_line

SIDE = "dock.json"  # what the dock remembers of a run, beside the files of the training
MODEL = "model.safetensors"
STOP = "stop"
_READ_BYTES = 1 << 18  # of a log at a time: a few milliseconds


_SIDE = {
    "command?": str, "title?": str, "arguments": [str], "pid?": int, "ended?": str, "error?": str,
}  # fmt: skip


@dataclass
class Run:
    """One training: its folder and the command that starts it and goes on with it.

    Attributes
    ----------
    folder : Path
    command : str
        ``train`` or ``finetune``.
    title : str
        What the user called it; the model is called so too.
    arguments : tuple of str
        Of ``labdct COMMAND``, without what names the folder; empty if nobody knows them.
    pid : int
        Of the process that was started last; 0 if unknown.
    ended : str
        How that process ended: ``done``, ``stopped``, ``failed``; empty while it runs.
    error : str
        Why it failed.
    """

    folder: Path
    command: str = "train"
    title: str = ""
    arguments: tuple[str, ...] = ()
    pid: int = 0
    ended: str = ""
    error: str = ""

    @classmethod
    def load(cls, folder: Path) -> Run:
        """The run of a folder; one that was started by hand is known by its log only."""
        try:
            side = check(load_json(folder / SIDE), _SIDE)
            return cls(folder, **{**side, "arguments": tuple(side["arguments"])})
        except (OSError, ValueError, TypeError, KeyError):
            return cls(folder, title=folder.name)

    def save(self) -> None:
        """Keep what the dock knows; raises OutputError if the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        kept = {k: v for k, v in vars(self).items() if k != "folder"}
        write_atomically(self.folder / SIDE, json.dumps(kept, indent=1))

    @property
    def files(self) -> Path:
        """Where the training keeps log, checkpoints and pictures."""
        work = self.folder / f"{MODEL}.work"
        return work if self.command == "finetune" else self.folder

    @property
    def log(self) -> Path:
        """The curve; a fine-tuning leaves it beside its model and clears the rest away."""
        kept = (self.folder / MODEL).with_suffix(".log.jsonl")
        return kept if kept.exists() and not self.files.exists() else self.files / "log.jsonl"

    @property
    def best(self) -> Path | None:
        """The best model so far, if there is one."""
        for path in (self.folder / MODEL, self.files / "best.safetensors"):
            if path.is_file():
                return path
        return None

    @property
    def before_after(self) -> dict[str, Any]:
        """Numbers of a fine-tuning's model before and after; empty if there are none."""
        try:
            found = load_json((self.folder / MODEL).with_suffix(".json"))
            check(found, {"before": {"f1": NUMBER}, "after": {"f1": NUMBER, "crops": int}})
            return {when: found[when] for when in ("before", "after")}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    @property
    def picture(self) -> Path:
        """Where a fine-tuning leaves its pictures before and after."""
        return (self.folder / MODEL).with_suffix(".png")

    @property
    def program(self) -> list[str]:
        """The whole command, for this Python."""
        # A training remembers its settings, so going on needs the folder only.
        start = [sys.executable, "-m", "napari_labdct", self.command]
        if self.command == "finetune":
            return [*start, *self.arguments, "-o", str(self.folder / MODEL), "--overwrite"]
        return [*start, str(self.folder), *self.arguments]

    @property
    def resumable(self) -> bool:
        """Whether the command that goes on with it is known."""
        return self.command == "train" or bool(self.arguments)

    def ask_to_stop(self) -> None:
        """Leave the note that ends a training after its iteration."""
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            (self.files / STOP).touch()
        except OSError as error:
            raise cannot_write(self.files / STOP, error) from error

    @property
    def alive(self) -> bool:
        """Whether its process is at work, as far as anybody knows."""
        return not self.ended and alive(self.pid)


def alive(pid: int) -> bool:
    """Whether a process of this computer is at work."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process has a number of twenty digits
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # Linux: a process that nobody has buried is dead too
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def _alive_on_windows(pid: int) -> bool:
    import ctypes

    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE


# --- the log -------------------------------------------------------------------------------


@dataclass
class Curve:
    """What a log says: the curve so far.

    Attributes
    ----------
    done, total : int
        Iterations.
    iterations, loss, seconds : list
        One entry a report.
    stages : list of (int, str)
        Where a stage begins, and its name.
    validations : list of (int, dict)
        Iteration and numbers of each validation.
    best : int or None
        Iteration of the best validation.
    end : str
        Why the training ended, if it says so.
    """

    total: int = 0
    iterations: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)
    validations: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    best: int | None = None
    end: str = ""

    @property
    def complete(self) -> bool:
        """Whether the training came to its end, or to one of its own."""
        return bool(self.end) and self.end != "stopped"

    @property
    def done(self) -> int:
        return self.iterations[-1] if self.iterations else 0

    @property
    def stage(self) -> str:
        return self.stages[-1][1] if self.stages else ""

    @property
    def best_numbers(self) -> dict[str, Any]:
        """The numbers of the best validation."""
        return next((v for k, v in self.validations if k == self.best), {})

    @property
    def seconds_each(self) -> float | None:
        """Time of an iteration over the last reports."""
        first = max(0, len(self.iterations) - 20)
        steps = self.iterations[-1] - self.iterations[first] if self.iterations else 0
        if steps > 0 and self.seconds[-1] > self.seconds[first]:
            return (self.seconds[-1] - self.seconds[first]) / steps
        return None

    def add(self, report: dict[str, Any]) -> None:
        """Take one line of the log."""
        done = int(report["done"])
        self.total = int(report["total"])
        stage = str(report.get("stage", ""))
        if stage != self.stage:
            self.stages.append((self.done, stage))
        self.iterations.append(done)
        self.loss.append(_number(report.get("loss")))
        self.seconds.append(_number(report.get("seconds")))
        self.end = str(report.get("end", ""))
        if report.get("validation"):
            self.validations.append((done, report["validation"]))
            if report.get("best"):
                self.best = done

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Iterations and values of one number of the validations."""
        found = [(k, _number(v.get(name))) for k, v in self.validations]
        x, y = zip(*found, strict=True) if found else ((), ())
        return np.array(x, float), np.array(y, float)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


class LogTail:
    """Reads what is new in a log, a piece at a time; knows when the log was begun anew.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._file = 0
        self._offset = 0
        self._rest = b""
        self.curve = Curve()

    def read(self) -> bool:
        """Take in at most 256 KB of new lines; True if the curve changed."""
        if not self._run.log.is_file():
            return False
        try:
            with self._run.log.open("rb") as file:
                stat = os.fstat(file.fileno())
                # A resumed training drops what came after its checkpoint.
                if stat.st_ino != self._file or stat.st_size < self._offset:
                    self._file, self._offset, self._rest = stat.st_ino, 0, b""
                    self.curve = Curve()
                file.seek(self._offset)
                new = file.read(_READ_BYTES)
        except OSError:
            return False
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            report = log_line(line)
            if report is not None:  # else half a line of a process that was killed
                self.curve.add(report)
        return bool(lines)

    def read_all(self) -> Curve:
        """The whole log."""
        while self.read():
            pass
        return self.curve


# --- runs there are ------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """A run in the list: its state now and how far it came."""

    run: Run
    state: str
    done: int
    total: int
    f1: float | None
    touched: float

    @property
    def sentence(self) -> str:
        """One line on it."""
        text = {"done": "finished"}.get(self.state, self.state)
        if self.total:
            text += f", {self.done} of {self.total} iterations"
        if self.f1 is not None:
            text += f", best F1 {self.f1:.3f} on validation crops"
        return text


def score_of(run: Run, crops: int | None) -> str:
    """What the F1 of a training is of, in plain words (see `training.validation`)."""
    count = f"{crops} " if crops else ""
    if run.command == "finetune":
        where = f"{count}crops cut from what it learns from, at other places"
    else:
        where = f"{count}simulated crops it does not learn from, with spots too faint to be seen"
    return (
        f"F1 in training is of {where}: the network alone, one look, at the threshold that is best "
        "there. It finds the best moment. The F1 of whole scans in the README is counted "
        "otherwise: compact has 0.83 on simulated crops and 0.92 to 0.94 on scans."
    )


def list_runs(folders: Sequence[Path]) -> Generator[list[Listed], None, None]:
    """All runs in some folders, the newest first; for a worker."""
    found = [_look(folder) for folder in folders if folder.is_dir()]
    yield sorted((f for f in found if f is not None), key=lambda f: -f.touched)


def _look(folder: Path) -> Listed | None:
    run = Run.load(folder)
    known = [p for p in (folder / SIDE, run.log) if p.exists()]
    if not known:
        return None
    curve = LogTail(run).read_all()
    state = run.ended or ("running" if run.alive else "done" if curve.complete else "stopped")
    f1 = curve.best_numbers.get("f1")
    return Listed(run, state, curve.done, curve.total, f1, max(p.stat().st_mtime for p in known))


def load_pictures(run: Run) -> Generator[tuple[int, dict[str, np.ndarray]], None, None]:
    """The newest validation pictures of a run, and the iteration they are of; for a worker."""
    found = sorted((run.files / "validation").glob("*.npz"))
    if found:
        pictures = read_npz(
            found[-1],
            {name: "iufb" for name in ("frame", "output", "target")},
            lambda why: ModelError(
                f"The validation pictures {found[-1].name} cannot be read ({why}); the next ones "
                "come with the next validation."
            ),
        )
        yield int(found[-1].stem), pictures


def copy_model(source: Path, target: Path) -> None:
    """Copy a model file so that a failure leaves what was there.

    Raises
    ------
    OutputError
        It cannot be read or written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        data = source.read_bytes()
    except OSError as error:
        raise cannot_write(target, error) from error
    write_atomically(target, data)


def plain_name(name: str) -> str:
    """A name of letters, digits and the few signs that every system knows."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._") or "model"


def free_path(parent: Path, name: str, suffix: str = "") -> Path:
    """A path that is not taken yet, called by the plain form of `name`."""
    plain, number = plain_name(name), 1
    while (path := parent / f"{plain}{f'-{number}' if number > 1 else ''}{suffix}").exists():
        number += 1
    return path
