"""The data stream: crops as network input, drawn ahead by other threads or processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from ...networks.normalisation import normalise
from ..settings import SynthesisSettings, TrainSettings
from .synthesis import Crop

AHEAD = 3  # batches that are being made while one is learnt from

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


class Source(Protocol):
    """Where crops come from besides the synthesis: reviewed pairs, a scan, simulated scans."""

    kind: str  # its key in the recipe of a training
    recipe: dict[str, Any]

    def check_size(self, crop_px: int) -> None:
        """Raise SettingsError if it cannot give crops of this size."""

    def mixed(self, synthesis: SynthesisSettings, seed: int, index: int) -> Crop:
        """Crop `index` of a seed; a part of them are synthetic."""


def to_arrays(crop: Crop, block_px: int) -> Arrays:
    """A crop as network input (2, n, n), target (1, n, n) and loss weight (1, n, n)."""
    return normalise(crop.frame, crop.median, block_px), *truth_arrays(crop)


def truth_arrays(crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Target (1, n, n), 1 in spots, and loss weight (1, n, n)."""
    return (crop.labels > 0).astype(np.float32)[None], crop.weight[None]


class Stream:
    """What ``make(number)`` gives for number after number, made ahead and batch by batch.

    Batch n consists of numbers ``n count ... (n + 1) count - 1``, so the stream goes on anywhere.

    Parameters
    ----------
    make : callable
        Pickled once a worker process.
    count : int
        Numbers a batch.
    first : int
        Number of the first batch.
    share : (int, int)
        Which numbers of a batch: its ``share[0]``-th of ``share[1]`` equal pieces.
    workers : int
        Processes that make; 0 is one thread of this process.

    Attributes
    ----------
    waited : float
        Seconds that `__next__` had to wait; set it to 0 to begin anew.
    """

    def __init__(
        self,
        make: Callable[[int], Any],
        count: int,
        first: int,
        share: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        self.waited = 0.0
        self._count, self._share = count, share
        self._pool: Executor
        if workers:
            # A fresh interpreter each: a forked one inherits torch's threads in unknown states.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, _begin, (make,))
        else:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="synthesis")
        self._call = _made if workers else make
        # Where a batch is one number, each worker has a batch of its own to make.
        ahead = AHEAD + workers * share[1] // count
        self._ahead = [self._submit(first + k) for k in range(ahead)]
        self._next = first + ahead

    def _submit(self, number: int) -> list:
        piece = self._count // self._share[1]
        first = number * self._count + self._share[0] * piece
        return [self._pool.submit(self._call, first + k) for k in range(piece)]

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """What belongs to the next batch, a list."""
        began = time.monotonic()
        made = [f.result() for f in self._ahead.pop(0)]
        self.waited += time.monotonic() - began
        self._ahead.append(self._submit(self._next))
        self._next += 1
        return made

    def close(self) -> None:
        """Stop making."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Batches(Stream):
    """Batch after batch of crops, and how long the training had to wait for them.

    Parameters
    ----------
    settings : TrainSettings
    draw : callable
        ``draw(seed, index)`` gives a `Crop`; pickled once a worker process.
    first, share, workers
        As of `Stream`; with several training processes each draws its share.
    """

    def __init__(
        self,
        settings: TrainSettings,
        draw: Callable[[int, int], Crop],
        first: int,
        share: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        drawer = _Drawer(draw, settings.seed, settings.block_px)
        super().__init__(drawer, settings.batch, first, share, workers)

    def __next__(self) -> Arrays:
        """Input (batch, 2, n, n), target and weight (batch, 1, n, n), float32."""
        return tuple(np.stack(arrays) for arrays in zip(*super().__next__(), strict=True))


class _Drawer:
    """Draws one crop as arrays; what a worker process is given once."""

    def __init__(self, draw: Callable[[int, int], Crop], seed: int, block_px: int) -> None:
        self.draw, self.seed, self.block_px = draw, seed, block_px

    def __call__(self, index: int) -> Arrays:
        return to_arrays(self.draw(self.seed, index), self.block_px)


_make: Callable[[int], Any] | None = None  # of a worker process


def _begin(make: Callable[[int], Any]) -> None:
    global _make
    _make = make


def _made(number: int) -> Any:
    return _make(number)
