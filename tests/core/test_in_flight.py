"""Several frames at once: the order, the bound on what is held, faults, and giving up."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_labdct.core.in_flight import several_at_once, still_wanted

PATIENCE_S = 60


class Work:
    """Frames of which the first half counts how many run at once; some frames wait for others."""

    def __init__(self, parts: int) -> None:
        self.begun: list[int] = []
        self.together = threading.Barrier(parts)
        self.ended: list[int] = []
        self._inside = 0

    def begin(self, index: int) -> int:
        self._inside += 1
        assert self._inside == 1
        self.begun.append(index)
        self._inside -= 1
        return 10 * index

    def finish(self, index: int, begun: int) -> np.ndarray:
        self.together.wait(PATIENCE_S)  # for a frame of each other thread: they do run at once
        self.ended.append(index)
        return np.full(2, begun)


def test_frames_run_at_once_begin_in_order_and_come_in_order():
    work, todo = Work(3), [4, 0, 7, 8, 1, 2]
    made = [frame for frame in several_at_once(todo, work.begin, work.finish, 3) if frame]
    assert work.begun == [index for index, _ in made] == todo
    assert [int(image[0]) for _, image in made] == [10 * index for index in todo]


def test_no_more_frames_are_begun_than_are_taken():
    begun = []
    frames = several_at_once(list(range(100)), begun.append, lambda i, _: np.zeros(1), 2)
    for taken in range(1, 20):
        while next(frames) is None:
            pass
        assert len(begun) <= taken + 2
    frames.close()


def test_a_fault_is_that_of_its_frame_and_those_before_it_are_there():
    def finish(index, _):
        if index == 3:
            raise TimeoutError("broken")  # like what a wait that is not over raises
        return np.zeros(1)

    got = []
    frames = several_at_once(list(range(9)), lambda index: None, finish, 2)
    with pytest.raises(TimeoutError, match="broken"):
        got.extend(frame[0] for frame in frames if frame)
    assert got == [0, 1, 2]


def test_closing_ends_frames_that_are_begun_at_their_next_part():
    started, ended, whole = threading.Event(), [], []

    def finish(index, _):
        try:
            started.set()
            while True:
                still_wanted()
            whole.append(index)
        finally:
            ended.append(index)

    frames = several_at_once(list(range(9)), lambda index: None, finish, 2)
    assert next(frames) is None
    assert started.wait(PATIENCE_S)
    frames.close()
    assert ended
    assert not whole
    assert not [t for t in threading.enumerate() if t.name.startswith("labdct-frame")]
    still_wanted()  # here nothing was given up
