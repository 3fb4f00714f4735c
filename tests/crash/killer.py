"""Runs commands in forked children to which something happens at their n-th file operation.

Started once as a process of its own, which has imported and warmed up all that is slow. Its first
line is a list of commands that are run in the process itself. Every further line of JSON is one
run in a child and is answered by one line, see `run`::

    {"words": [...], "at": n, "signal": "SIGKILL"}   the n-th operation does not happen
    {"words": [...], "seen": folder}                 before which operations its files had changed
    {"words": [...], "limit": bytes, "deadly": true} no file grows beyond: the child is killed
    {"words": [...], "limit": bytes}                 no file grows beyond: as on a full disk
    {"resume": pid}                                  a child that was stopped by SIGSTOP goes on
    {"several": [[wish, wish], ...]}                 lists of runs, two lists at a time
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import gc
import io
import json
import os
import resource
import signal
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

_clock, _open = time.perf_counter, open
CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "posix_fallocate")


class Counter:
    """Counts operations that change files; a signal is sent before the n-th."""

    def __init__(self, at: int, number: int, seen: str = "") -> None:
        self.at, self.number, self.count = at, number, 0
        self.seen, self.last, self.changed = seen, None, []

    def step(self) -> None:
        self.count += 1
        if self.seen:
            now = _state(self.seen)
            if now != self.last:
                self.changed.append(self.count)
            self.last = now
        if self.count == self.at:
            os.kill(os.getpid(), self.number)

    def watch(self) -> None:
        from napari_labdct.core import files

        for name in CHANGES:
            if hasattr(os, name):
                setattr(os, name, self._counted(getattr(os, name)))
        # A kill, unlike a power cut, loses nothing that was written, so nothing lies between what
        # comes before it and what comes after it.
        os.fsync = lambda file: None
        os.open = self._creating(os.open)
        builtins.open = io.open = self._opening(io.open)
        files._Guarded.__init__ = self._counted(files._Guarded.__init__)

    def _counted(self, real):
        @functools.wraps(real)
        def changed(*given, **named):
            self.step()
            return real(*given, **named)

        return changed

    def _creating(self, real):
        @functools.wraps(real)
        def opened(path, flags, *given, **named):
            if flags & os.O_CREAT:
                self.step()
            return real(path, flags, *given, **named)

        return opened

    def _opening(self, real):
        @functools.wraps(real)
        def opened(file, mode="r", *given, **named):
            if set(mode) & set("wxa+") and os.fspath(file) != os.devnull:
                self.step()
            return real(file, mode, *given, **named)

        return opened


def _state(folder: str) -> list:
    """Every file below a folder and what it holds."""
    found = []
    for place, folders, names in os.walk(folder):
        found.append((place, sorted(folders)))
        for name in sorted(names):
            with _open(os.path.join(place, name), "rb") as file:
                found.append((place, name, zlib.crc32(file.read())))
    return found


def tell(pipe: int) -> None:
    """Say what was done, so that what is done twice is seen."""
    from napari_labdct.core.frame_store import FrameStore
    from napari_labdct.training.crops.paper_pairs import TrainingSet
    from napari_labdct.training.learner import Learner

    for kind, name in ((FrameStore, "write"), (TrainingSet, "_write_pair"), (Learner, "step")):
        setattr(kind, name, _telling(pipe, getattr(kind, name)))


def _telling(pipe: int, real):
    @functools.wraps(real)
    def told(self, *given):
        made = real(self, *given)
        number = next(g for g in given if isinstance(g, int))
        what = getattr(getattr(self, "path", None), "name", real.__name__)
        os.write(pipe, f"{what} {number}\n".encode())
        return made

    return told


def lighten() -> None:
    """Leave out what is slow and writes nothing: drawing, and samples that were made before."""
    from matplotlib.figure import Figure

    from napari_labdct.evaluation import report
    from napari_labdct.training.crops import paper_pairs

    paper_pairs.Simulation = functools.cache(paper_pairs.Simulation)
    report.figures = lambda *_: [("first", Figure()), ("second", Figure())]

    def savefig(self, target, **_):
        if hasattr(target, "write"):
            target.write(b"picture")
        else:
            with open(target, "wb") as file:
                file.write(b"picture" * 200)

    Figure.savefig = savefig


def start(wish: dict) -> tuple[int, int, int]:
    """A child, and the pipes on which it says what it did and what it prints."""
    said, saying = os.pipe()
    printed, printing = os.pipe()
    child = os.fork()
    if child:
        os.close(saying)
        os.close(printing)
        return child, said, printed
    status = 70
    try:
        os.dup2(printing, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", closefd=False)
        from napari_labdct import cli
        from napari_labdct.core import kernels

        kernels._POOL = ThreadPoolExecutor(2)  # threads do not come along into a fork
        signal.signal(signal.SIGINT, signal.default_int_handler)
        number = getattr(signal, wish.get("signal", "SIGKILL"))
        counter = Counter(wish.get("at", 0), number, wish.get("seen", ""))
        counter.watch()
        tell(saying)
        if "limit" in wish:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if "deadly" in wish else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (wish["limit"], wish["limit"]))
        try:
            status = cli.main(wish["words"])
        except SystemExit as end:
            status = end.code
        sys.stderr.flush()
        os.write(saying, f"={json.dumps([counter.count, counter.changed])}\n".encode())
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


running: dict[int, tuple[int, int]] = {}


def run(wish: dict) -> dict:
    """What became of a child: exit status (negative: the signal), operations, work done, print."""
    if "resume" in wish:
        child = wish["resume"]
        said, printed = running.pop(child)
        os.kill(child, signal.SIGCONT)
    else:
        child, said, printed = start(wish)
    if wish.get("signal") == "SIGSTOP":
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            running[child] = said, printed
            return {"stopped": child}
    else:
        status = None
    text = _all(printed)
    lines = _all(said).splitlines()
    if status is None:
        _, status = os.waitpid(child, 0)
    count, changed = json.loads(lines.pop()[1:]) if lines and lines[-1][:1] == "=" else (0, [])
    return {
        "status": os.waitstatus_to_exitcode(status),
        "operations": count,
        "changed": changed,
        "done": lines,
        "printed": text,
    }


def several(lists: list[list[dict]], at_once: int = 2) -> list[list[dict]]:
    """The answers to lists of runs; those of one list come one after the other."""
    pipes = []
    for part in range(at_once):
        reading, writing = os.pipe()
        if os.fork() == 0:
            answers = [[run(wish) for wish in wishes] for wishes in lists[part::at_once]]
            with os.fdopen(writing, "wb") as file:
                file.write(json.dumps(answers).encode())
            os._exit(0)
        os.close(writing)
        pipes.append(reading)
    parts = [json.loads(_all(pipe)) for pipe in pipes]
    for _ in pipes:
        os.wait()
    return [parts[i % at_once][i // at_once] for i in range(len(lists))]


def _all(pipe: int) -> str:
    with os.fdopen(pipe, "rb") as file:
        return file.read().decode(errors="replace")


def main() -> None:
    """Warm up with the commands of the first line, then answer line by line."""
    import torch
    import tqdm

    from napari_labdct import cli

    torch.set_num_threads(1)
    tqdm.tqdm.monitor_interval = 0  # no thread of its own
    # so that equal results are equal to the byte
    time.strftime = lambda *_: "then"
    time.monotonic = time.perf_counter = lambda: 0.0
    lighten()
    answers, sys.stdout = sys.stdout, sys.stderr
    for words in json.loads(sys.stdin.readline()):
        with contextlib.redirect_stdout(sys.stderr):
            began = _clock()
            assert cli.main(words) == 0, words
            sys.stderr.write(f"{_clock() - began:.1f} s: {words[0]}\n")
    print("ready", file=answers, flush=True)
    gc.collect()
    gc.freeze()  # so that children share what is there
    for line in sys.stdin:
        wish = json.loads(line)
        answer = several(wish["several"]) if "several" in wish else run(wish)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
