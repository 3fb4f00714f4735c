"""The data stream: crops as network input, drawn ahead by other threads or processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from .normalisation import normalise
from .settings import TrainSettings
from .synthesis import Crop, SynthesisSettings

AHEAD = 3  # batches that are being drawn while one is learnt from

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


class Batches:
    """Batch after batch, and how long the training had to wait for them.

    Batch n always holds crops ``n batch ... (n + 1) batch - 1`` of the seed, whoever draws
    them, so the stream goes on anywhere. With several training processes each draws its share.

    Parameters
    ----------
    settings : TrainSettings
    draw : callable
        ``draw(seed, index)`` gives a `Crop`; pickled once a worker process.
    first : int
        Number of the first batch.
    share : (int, int)
        Which crops of a batch: its ``share[0]``-th of ``share[1]`` equal pieces.
    workers : int
        Processes that draw; 0 is one thread of this process.

    Attributes
    ----------
    waited : float
        Seconds that `__next__` had to wait for crops; set it to 0 to begin anew.
    """

    def __init__(
        self,
        settings: TrainSettings,
        draw: Callable[[int, int], Crop],
        first: int,
        share: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        self.waited = 0.0
        self._settings, self._share = settings, share
        self._drawer = _Drawer(draw, settings.seed, settings.block_px)
        self._pool: Executor
        if workers:
            # A fresh interpreter each: a forked one inherits torch's threads in unknown states.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, _begin, (self._drawer,))
        else:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="synthesis")
        self._call: Callable[[int], Arrays] = _drawn if workers else self._drawer
        self._ahead = [self._submit(first + k) for k in range(AHEAD)]
        self._next = first + AHEAD

    def _submit(self, number: int) -> list:
        piece = self._settings.batch // self._share[1]
        first = number * self._settings.batch + self._share[0] * piece
        return [self._pool.submit(self._call, first + k) for k in range(piece)]

    def __iter__(self) -> Iterator[Arrays]:
        return self

    def __next__(self) -> Arrays:
        """Input (batch, 2, n, n), target and weight (batch, 1, n, n), float32."""
        began = time.monotonic()
        crops = [f.result() for f in self._ahead.pop(0)]
        self.waited += time.monotonic() - began
        self._ahead.append(self._submit(self._next))
        self._next += 1
        return tuple(np.stack(arrays) for arrays in zip(*crops, strict=True))

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Drawer:
    """Draws one crop as arrays; what a worker process is given once."""

    def __init__(self, draw: Callable[[int, int], Crop], seed: int, block_px: int) -> None:
        self.draw, self.seed, self.block_px = draw, seed, block_px

    def __call__(self, index: int) -> Arrays:
        return to_arrays(self.draw(self.seed, index), self.block_px)


_drawer: _Drawer | None = None  # of a worker process


def _begin(drawer: _Drawer) -> None:
    global _drawer
    _drawer = drawer


def _drawn(index: int) -> Arrays:
    return _drawer(index)
