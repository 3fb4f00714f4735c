"""Where the grains of a map reflect to, what is seen there, and whose spot a pixel belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from .indexing import list_at
from .kernels import DISTANCE, HIDDEN, Planes, meet
from .spot_images import SpotImages

__all__ = ["MISSING", "REFLECTION_DTYPE", "SEEN", "PickedSpot", "Reflections"]

#: Meaning of the column ``seen``.
MISSING, SEEN = 0, 1
#: A spot belongs to a reflection that lies in it, or this near to it, px.
_NEAR_PX = 2.0
#: Half the edge of the part of a projection in which a spot is looked for, px.
_REACH_PX = 96

REFLECTION_DTYPE = np.dtype(
    [
        ("frame", "i4"), ("grain", "i4"), ("h", "i2"), ("k", "i2"), ("l", "i2"),
        ("omega_deg", "f4"), ("row", "f4"), ("col", "f4"), ("seen", "u1"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class PickedSpot:
    """A spot of the mask, and the grains that explain it.

    Attributes
    ----------
    frame : int
    row, col : float
        Its centre, px.
    area_px : int
    grains : tuple of int
        Numbers (labels) of the grains whose reflections lie in it, the nearest first.
    hkl : tuple of tuple of int
        The reflection of each.
    """

    frame: int
    row: float
    col: float
    area_px: int
    grains: tuple[int, ...]
    hkl: tuple[tuple[int, int, int], ...]


class Reflections:
    """Every reflection that the centres of some grains send to the detector.

    A reflection is seen if its place lies in a spot, as in `Listing.completeness`; those behind the
    beam stop or in the detector mask are left out.

    Parameters
    ----------
    images : SpotImages
        Loaded.
    planes : Planes
    hkl : ndarray of int (n, 3)
        Lowest indices of each plane.
    tolerance_px : int
        How far from a spot a reflection still counts as seen; 1 for point grains.
    """

    def __init__(
        self, images: SpotImages, planes: Planes, hkl: np.ndarray, tolerance_px: int = 0
    ) -> None:
        self.images, self.planes, self.hkl = images, planes, np.asarray(hkl)
        self.tolerance_px = tolerance_px
        self._of: dict[int, np.ndarray] = {}
        self._by_frame: np.ndarray | None = None
        self._starts = np.zeros(0, int)

    def fill(
        self, numbers: Sequence[int], orientations: np.ndarray, points_mm: np.ndarray
    ) -> Iterator[int]:
        """Look the reflections of some grains up; yields how many are done.

        Parameters
        ----------
        numbers : sequence of int
            What the grains are called from now on.
        orientations : ndarray (n, 3, 3)
        points_mm : ndarray (n, 3)
            Their centres; a grain without one has no reflections.
        """
        for done, (number, u, point) in enumerate(
            zip(numbers, orientations, points_mm, strict=True), 1
        ):
            self.put(int(number), u, point)
            yield done
        self.index()

    def put(self, number: int, orientation: np.ndarray, point_mm: np.ndarray) -> None:
        """Look the reflections of one grain up, or look them up again."""
        self._by_frame = None
        if not np.isfinite(point_mm).all():
            self._of[number] = np.zeros(0, REFLECTION_DTYPE)
            return
        found = list_at(self.images, self.planes, orientation, point_mm)
        rows = np.zeros(len(found), REFLECTION_DTYPE)
        rows["grain"], rows["frame"] = number, found.frames
        rows["omega_deg"] = self.images.omega_deg[found.frames]
        for axis, name in enumerate("hkl"):
            rows[name] = self.hkl[found.planes, axis]
        rows["seen"] = np.where(found.near(self.tolerance_px), SEEN, MISSING)
        turns, camera = self.images.views.turns, self.images.views.camera
        for i, frame in enumerate(found.frames):
            rows["row"][i], rows["col"][i], _, _ = meet(
                turns[frame], camera, *point_mm, *found.vectors[i, 3:]
            )
        self._of[number] = rows[np.argsort(rows["frame"], kind="stable")]

    def forget(self, number: int) -> None:
        """A grain is gone."""
        self._of.pop(number, None)
        self._by_frame = None

    def of_grain(self, number: int) -> np.ndarray:
        """Reflections (n,) of a grain, of `REFLECTION_DTYPE`, in the order of the projections."""
        return self._of.get(number, np.zeros(0, REFLECTION_DTYPE))

    def index(self) -> None:
        """Order all reflections by projection, for `in_frame`."""
        every = np.concatenate([np.zeros(0, REFLECTION_DTYPE), *self._of.values()])
        order = np.argsort(every["frame"], kind="stable")
        frames = every["frame"][order]
        self._starts = np.searchsorted(frames, np.arange(len(self.images.images) + 1))
        self._by_frame = every[order]

    def in_frame(self, frame: int) -> np.ndarray:
        """Reflections of all grains in one projection."""
        if self._by_frame is None:
            self.index()
        return self._by_frame[self._starts[frame] : self._starts[frame + 1]]

    def spot_at(self, frame: int, row: float, col: float) -> PickedSpot | None:
        """The spot under a pixel or within two pixels of it, and whose it is.

        Returns
        -------
        PickedSpot or None
            None if there is no spot.
        """
        part, corner = self._part(frame, row, col)
        labels, _ = ndi.label(part == 0, np.ones((3, 3)))
        at = np.array([row, col]) - corner
        spots = np.argwhere(labels)
        if len(spots) == 0:
            return None
        off = np.hypot(*(spots - at).T)
        nearest = int(off.argmin())
        if off[nearest] > _NEAR_PX:
            return None
        own = spots[labels[tuple(spots.T)] == labels[tuple(spots[nearest])]]
        middle = own.mean(axis=0)
        rows = self.in_frame(frame)
        places = np.stack([rows["row"], rows["col"]], axis=1) - corner
        close = np.flatnonzero(
            (np.abs(places - middle) <= np.ptp(own, axis=0) / 2 + _REACH_PX / 8).all(axis=1)
        )
        gap = np.array([np.hypot(*(own - places[i]).T).min() for i in close])
        close = close[gap <= _NEAR_PX] if len(close) else close
        order = close[np.argsort(np.hypot(*(places[close] - middle).T), kind="stable")]
        grains: dict[int, tuple[int, int, int]] = {}
        for i in order:
            hkl = (int(rows["h"][i]), int(rows["k"][i]), int(rows["l"][i]))
            grains.setdefault(int(rows["grain"][i]), hkl)
        return PickedSpot(
            frame, *(middle + corner).tolist(), len(own), tuple(grains), tuple(grains.values())
        )

    def _part(self, frame: int, row: float, col: float) -> tuple[np.ndarray, np.ndarray]:
        """Distances to the nearest spot about a pixel (15 where nothing is seen), and where."""
        first = np.maximum(np.round([row, col]).astype(int) - _REACH_PX, 0)
        image = self.images.images[
            frame, first[0] : first[0] + 2 * _REACH_PX + 1, first[1] : first[1] + 2 * _REACH_PX + 1
        ]
        return np.where(image == HIDDEN, DISTANCE, image & DISTANCE), first
