"""Runs commands in forked children that are killed before their n-th file operation.

Started once as a process of its own, which has imported and warmed up all that is slow; asked by
one line of JSON a run: ``{"words": [...], "kill": n}``, and answers ``[status, operations]``.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import json
import os
import pickle
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "posix_fallocate")


class Counter:
    """Counts operations that change files; the n-th does not happen, nor anything after it."""

    def __init__(self, kill: int) -> None:
        self.kill, self.count = kill, 0

    def step(self) -> None:
        self.count += 1
        if self.count == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        for name in CHANGES:
            if hasattr(os, name):
                setattr(os, name, self._counted(getattr(os, name)))
        os.fsync = lambda file: None  # a kill, unlike a power cut, loses nothing that was written
        builtins.open = io.open = self._opening(io.open)

    def _counted(self, real):
        @functools.wraps(real)
        def changed(*given, **named):
            self.step()
            return real(*given, **named)

        return changed

    def _opening(self, real):
        @functools.wraps(real)
        def opened(file, mode="r", *given, **named):
            if set(mode) & set("wxa+") and os.fspath(file) != os.devnull:
                self.step()
            return real(file, mode, *given, **named)

        return opened


def run(words: list[str], kill: int) -> tuple[int, int]:
    """Exit status (negative: the signal) and number of operations of one run in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            from napari_labdct import cli
            from napari_labdct.core import kernels

            kernels._POOL = ThreadPoolExecutor(2)  # threads do not come along into a fork
            counter = Counter(kill)
            counter.watch()
            status = cli.main(words)
            os.write(writing, pickle.dumps(counter.count))
        finally:
            os._exit(status)
    os.close(writing)
    said = b"".join(iter(lambda: os.read(reading, 64), b""))
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), pickle.loads(said) if said else 0


def main() -> None:
    """Warm up with the commands of the first line, then answer line by line."""
    import tqdm

    from napari_labdct import cli

    tqdm.tqdm.monitor_interval = 0  # no thread of its own
    time.strftime = lambda *_: "then"  # so that equal results are equal to the byte
    answers, sys.stdout = sys.stdout, sys.stderr
    for words in json.loads(sys.stdin.readline()):
        with contextlib.redirect_stdout(sys.stderr):
            assert cli.main(words) == 0, words
    for line in sys.stdin:
        wish = json.loads(line)
        print(json.dumps(run(wish["words"], wish["kill"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
