"""Every spot of a scan as label images: what the network found, what the routine found, or both.

The label of a spot is its id, so a spot is known by ``(frame, id)``.  Spots of the network come
first; spots of the routine that touch none of them follow.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..background.rolling_median import SPOT_WINDOW
from ..core.errors import SettingsError
from ..core.frame_store import FrameStore
from ..core.recipes import recipe_hash
from ..core.stacks import FrameStack, LazyStack
from ..scan.scan import Scan
from .binarisation import BINARISED, BinaryFrames
from .matching import match_spots
from .measurement import BOTH, NETWORK, ROUTINE, UNKNOWN, FrameMeasurer, label_image


class Detections(LazyStack):
    """Label images ``(n, rows, cols)`` int32 of the spots found in a scan, made when asked for.

    Parameters
    ----------
    network : stack (n, rows, cols), optional
        Masks of the network (or of any other method, if it is the only one).
    routine : stack (n, rows, cols), optional
        Masks of the standard routine.
    cleaned : uint8 stack (n, rows, cols), optional
        The network's output, for each spot's confidence.

    Raises
    ------
    SettingsError
        There is no mask, or the stacks differ in shape.
    """

    def __init__(
        self,
        network: FrameStack | None = None,
        routine: FrameStack | None = None,
        cleaned: FrameStack | None = None,
    ) -> None:
        stacks = [s for s in (network, routine, cleaned) if s is not None]
        if network is None and routine is None:
            raise SettingsError("There are no spots to measure; denoise or run the routine first.")
        for stack in stacks[1:]:
            if tuple(stack.shape) != tuple(stacks[0].shape):
                raise SettingsError(
                    f"The spots have {_size(stacks[0])} but another stack has {_size(stack)}; "
                    "make both at the full size of the same scan."
                )
        super().__init__(stacks[0].shape, np.int32)
        self.network = network
        self.routine = routine
        self.cleaned = cleaned

    def check(self, scan: Scan) -> None:
        """Refuse spots that are not of the size of the scan.

        Raises
        ------
        SettingsError
            They differ; the message says what to do.
        """
        if self.shape != (scan.n_frames, *scan.shape):
            raise SettingsError(
                f"The spots have {_size(self)} but '{scan.name}' has "
                f"{scan.n_frames} x {scan.shape[0]} x {scan.shape[1]} pixels; "
                "denoise the same scan at full size."
            )

    def read(self, index: int) -> np.ndarray:
        return self.labelled(index)[0]

    def labelled(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Label image of one projection, and which method found each label.

        Returns
        -------
        labels : int32 array (rows, cols)
        found_by : uint8 array (highest label + 1,)
            `spots.NETWORK`, `ROUTINE` or `BOTH`, indexed by label; `UNKNOWN` where there is
            only one stack of masks and no network output to go with it.
        """
        if self.network is None:
            assert self.routine is not None  # one of the two there is
            labels = label_image(self.routine[index])
            return labels, _codes(labels, ROUTINE)
        labels = label_image(self.network[index])
        if self.routine is None:
            return labels, _codes(labels, UNKNOWN if self.cleaned is None else NETWORK)
        found_by = _codes(labels, NETWORK)
        others = label_image(self.routine[index])
        pairs = match_spots(labels > 0, others > 0).pairs
        found_by[pairs[:, 0]] = BOTH
        alone = np.ones(int(others.max(initial=0)) + 1, bool)
        alone[0] = False
        alone[pairs[:, 1]] = False
        alone[np.unique(others[labels > 0])] = False
        new_id = np.where(alone, np.cumsum(alone) + found_by.size - 1, 0).astype(np.int32)
        flat = np.flatnonzero(others)
        labels.ravel()[flat] = np.maximum(labels.ravel()[flat], new_id[others.ravel()[flat]])
        return labels, np.concatenate([found_by, np.full(alone.sum(), ROUTINE, np.uint8)])

    def identity(self) -> str:
        """A short hash of what the spots are made of: the same spots, the same id.

        A stack that keeps its recipe is known by it; of any other stack every frame counts.
        """
        parts = [_fingerprint(s) for s in (self.network, self.routine, self.cleaned)]
        return hashlib.sha256(repr((self.shape, parts)).encode()).hexdigest()[:16]

    def about(self) -> dict[str, Any]:
        """What the spots were made of, for a recipe; settings are known for `BinaryFrames`."""
        made: dict[str, Any] = {"spots_id": self.identity()}
        for name in ("network", "routine", "cleaned"):
            stack = getattr(self, name)
            if stack is None:
                continue
            entry: dict[str, Any] = {}
            if isinstance(stack, BinaryFrames):
                entry[BINARISED] = stack.settings.to_dict()
                stack = stack.cleaned
            if hasattr(stack, "done"):
                entry["frames_done"] = int(np.sum(stack.done))
            if isinstance(getattr(stack, "recipe", None), dict):
                entry["recipe"] = stack.recipe
            made[name] = entry
        return made


def measure_frame(
    measurer: FrameMeasurer,
    detections: Detections,
    index: int,
    labels: np.ndarray | None = None,
    *,
    labelled: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Table of the spots of one projection, with confidence and who found them.

    Parameters
    ----------
    measurer : FrameMeasurer
    detections : Detections
    index : int
    labels : int array (rows, cols), optional
        A corrected label image; that of `detections` if not given.  A corrected spot is found
        by those that found any of its pixels.
    """
    base, found_by = detections.labelled(index)
    if labels is not None:
        labels = measurer.measured(index, labels)
    cleaned = None if detections.cleaned is None else np.asarray(detections.cleaned[index])
    table = measurer.measure(index, base if labels is None else labels, cleaned)
    if labels is None:
        table["found_by"] = found_by[table["id"]]
    elif len(table):
        flat = np.flatnonzero(labels)
        spot = np.searchsorted(table["id"], labels.ravel()[flat])
        code = found_by[base.ravel()[flat]]  # 1, 2, 3 are the bits network, routine, both
        np.bitwise_or.at(table["found_by"], spot, code)
    return table


def measure_detections(
    scan: Scan,
    detections: Detections,
    median_window: int = SPOT_WINDOW,
    frames: Iterable[int] | None = None,
) -> Iterator[np.ndarray]:
    """Measure projection after projection; yields one table of `spots.SPOT_DTYPE` each."""
    detections.check(scan)
    measurer = FrameMeasurer(scan, median_window)
    for index in range(scan.n_frames) if frames is None else frames:
        yield measure_frame(measurer, detections, index)


def _fingerprint(stack: FrameStack | None) -> Any:
    if stack is None:
        return None
    if isinstance(stack, BinaryFrames):
        return sorted(stack.settings.to_dict().items()), _fingerprint(stack.cleaned)
    if isinstance(stack, FrameStore):
        return recipe_hash(stack.recipe), stack.done.tobytes()
    check = 0
    for index in range(stack.shape[0]):
        check = zlib.crc32(np.ascontiguousarray(stack[index]), check)
    return check


def _codes(labels: np.ndarray, code: int) -> np.ndarray:
    codes = np.full(int(labels.max(initial=0)) + 1, code, np.uint8)
    codes[0] = UNKNOWN
    return codes


def _size(stack: FrameStack) -> str:
    return " x ".join(str(n) for n in stack.shape) + " pixels"
