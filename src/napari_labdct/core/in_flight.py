"""Several frames of a job at once, each in a thread of its own, in the order they are wanted.

The compiled loops, NumPy and torch let other threads run meanwhile.  A frame on one core each is
quicker than every frame on all cores: nobody waits for the slowest part of a convolution, and while
one frame is in the network the next one gets its rolling median.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import numpy as np

#: How often whoever runs a job may cancel it while frames are being made, seconds.
_LOOK_S = 0.2
_here = threading.local()


class GivenUpError(Exception):
    """Nobody wants the frame any more; ends a thread of `several_at_once` and is never shown."""


def still_wanted() -> None:
    """Called between parts of the work on a frame: ends it if the job was cancelled meanwhile.

    Raises
    ------
    GivenUpError
        In a thread of a cancelled `several_at_once`; nowhere else.
    """
    stop = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise GivenUpError


def several_at_once(
    todo: list[int],
    begin: Callable[[int], Any],
    finish: Callable[[int, Any], np.ndarray],
    parts: int,
    enter: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, np.ndarray] | None]:
    """Frames in the order of `todo`; no more than ``parts + 1`` of them exist at any time.

    Parameters
    ----------
    todo : list of int
    begin : callable
        First half of a frame; never runs twice at once, and in the order of `todo`.
    finish : callable
        Second half, from the index and what `begin` gave.
    parts : int
        Number of threads.
    enter : callable
        What each thread does first.

    Yields
    ------
    (index, frame) or None
        None while nothing is ready, for whoever wants to close this generator, which is cancelling:
        frames that are begun end at the next `still_wanted`.
    """
    stop, queue = threading.Event(), _Queue()

    def start() -> None:
        _here.stop = stop
        enter()

    def make(place: int, index: int) -> np.ndarray:
        with queue.turn(place):
            still_wanted()
            begun = begin(index)
        still_wanted()
        return finish(index, begun)

    pool = ThreadPoolExecutor(parts, thread_name_prefix="labdct-frame", initializer=start)
    try:
        waiting: deque[tuple[int, Future[np.ndarray]]] = deque()
        rest = enumerate(todo)
        while True:
            while len(waiting) <= parts and (following := next(rest, None)):
                waiting.append((following[1], pool.submit(make, *following)))
            if not waiting:
                return
            index, frame = waiting[0]
            try:
                image = frame.result(timeout=_LOOK_S)
            except NotYet:
                if frame.done():  # the frame itself raised it
                    raise
                yield None
                continue
            waiting.popleft()
            del frame
            yield index, image
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Queue:
    """Lets threads pass one after another, by their place."""

    def __init__(self) -> None:
        self._next = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self, place: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._next == place)
        try:
            yield
        finally:
            with self._changed:
                self._next += 1
                self._changed.notify_all()
