"""Long jobs: what they report, where their frames go, and how they go on after a stop.

A job is a generator that writes frames into a `FrameStore` and yields `Progress`.  Closing
the generator is cancelling; running it again with the same store is resuming.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frame_store import FrameStore


@dataclass(frozen=True)
class Progress:
    """One step of a long job: `done` of `total`, and the frame that was just written."""

    done: int
    total: int
    message: str = ""
    frame: int | None = None


def fill(
    store: FrameStore,
    make: Callable[[int], np.ndarray],
    frames: Iterable[int] | None = None,
    note: str = "",
    prepare: Callable[[int], Iterable[Any]] | None = None,
) -> Iterator[Progress]:
    """Make the frames that a store still lacks, one `Progress` each.

    Parameters
    ----------
    store : FrameStore
    make : callable
        Frame of an index, as the store wants it.
    frames : iterable of int, optional
        Frames wanted; all if not given.
    note : str
        Message of the first step, which comes before anything is made.
    prepare : callable, optional
        What a frame needs first, as steps between which the job can be cancelled.

    Yields
    ------
    Progress
    """
    wanted = list(range(store.shape[0]) if frames is None else frames)
    todo = store.missing(wanted)
    done = len(wanted) - len(todo)
    yield Progress(done, len(wanted), " ".join(part for part in (store.note, note) if part))
    for index in todo:
        for _ in prepare(index) if prepare else ():
            yield Progress(done, len(wanted))
        store.write(index, make(index))
        done += 1
        yield Progress(done, len(wanted), frame=index)
