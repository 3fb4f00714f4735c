"""Masks that follow a slider: cut in a worker for the shown frame, shown without a wait."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from ...spots.binarisation import BinaryFrames, SpotSettings

_KEPT_FRAMES = 4


class LiveMask(BinaryFrames):
    """`BinaryFrames` that keep the masks of the frames cut last.

    `prepare` cuts a frame with other settings, in any thread; `adopt` makes those settings
    the ones in force.  A frame that was prepared is not cut again when napari reads it.

    Parameters
    ----------
    cleaned : stack (n, rows, cols)
        If it is a `FrameStore`, frames that are not done yet are empty.
    settings : SpotSettings

    Attributes
    ----------
    asleep : bool
        While True, only frames that were prepared are shown, the others are empty: napari
        reads a new layer twice in the main thread before it is on the screen.
    """

    def __init__(self, cleaned: Any, settings: SpotSettings) -> None:
        super().__init__(cleaned, settings, value=1)
        self.asleep = False
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, SpotSettings], np.ndarray] = OrderedDict()

    def read(self, index: int) -> np.ndarray:
        if self.asleep and (index, self.settings) not in self._kept:
            return np.zeros(self.shape[1:], np.uint8)
        return self._cut(index, self.settings)

    def prepare(self, index: int, settings: SpotSettings) -> int:
        """Cut frame `index` with `settings`, keep it, and count its spots."""
        from ...spots.matching import match_spots

        mask = self._cut(index, settings)
        return match_spots(mask, np.zeros_like(mask)).n_a

    def adopt(self, settings: SpotSettings) -> None:
        """Cut with these settings from now on; refresh the layer to see it."""
        self.settings = settings

    def _cut(self, index: int, settings: SpotSettings) -> np.ndarray:
        key = (index, settings)
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        if not self.is_done(index):
            return np.zeros(self.shape[1:], np.uint8)
        mask = BinaryFrames(self.cleaned, settings, self.value).read(index)
        mask.flags.writeable = False
        with self._lock:
            self._kept[key] = mask
            while len(self._kept) > _KEPT_FRAMES:
                self._kept.popitem(last=False)
        return mask

    def is_done(self, index: int) -> bool:
        """Whether the network has cleaned frame `index`."""
        done = getattr(self.cleaned, "done", None)
        return done is None or bool(done[index])
