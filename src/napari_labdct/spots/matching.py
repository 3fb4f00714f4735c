"""Match two segmentations, or one and a truth: the one definition of found, missed, false.

Two spots are candidates if they overlap by at least half of the smaller one, or if their
centroids are at most `max_distance_px` apart.  Candidates are paired one to one, best overlap
first, then nearest.  A blob over two neighbours therefore finds one of them and misses the
other; it also counts as *merged*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..background.noise import noise_map
from .measurement import local_background


@dataclass(frozen=True)
class Match:
    """How the spots of A pair with those of B (B is the reference or the truth).

    Parameters
    ----------
    n_a, n_b : int
        Number of spots.
    pairs : int array (k, 2)
        Matched labels (1-based) in A and B.
    merged : int array
        Labels in A that lie over two or more spots of B.
    split : int array
        Labels in B that lie under two or more spots of A.
    centroid_error_px : float array (k,)
        Distance of the centroids of each pair.
    pixels_both, pixels_either : int
        Pixels in A and B, and in A or B.
    """

    n_a: int
    n_b: int
    pairs: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), int))
    merged: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    split: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    centroid_error_px: np.ndarray = field(default_factory=lambda: np.zeros(0))
    pixels_both: int = 0
    pixels_either: int = 0

    @property
    def found(self) -> int:
        return len(self.pairs)

    @property
    def only_a(self) -> np.ndarray:
        """Labels of A without a partner: false, if B is the truth."""
        return np.setdiff1d(np.arange(1, self.n_a + 1), self.pairs[:, 0])

    @property
    def only_b(self) -> np.ndarray:
        """Labels of B without a partner: missed, if B is the truth."""
        return np.setdiff1d(np.arange(1, self.n_b + 1), self.pairs[:, 1])


@dataclass(frozen=True)
class Score:
    """Counts summed over projections, and the ratios made of them."""

    frames: int = 0
    spots_a: int = 0
    spots_b: int = 0
    found: int = 0
    merged: int = 0
    split: int = 0
    pixels_both: int = 0
    pixels_either: int = 0
    distance_px: float = 0.0

    def __add__(self, match: Match) -> Score:
        return Score(
            self.frames + 1,
            self.spots_a + match.n_a,
            self.spots_b + match.n_b,
            self.found + match.found,
            self.merged + len(match.merged),
            self.split + len(match.split),
            self.pixels_both + match.pixels_both,
            self.pixels_either + match.pixels_either,
            self.distance_px + float(match.centroid_error_px.sum()),
        )

    @property
    def centroid_error_px(self) -> float:
        """Mean distance of the centroids of matched spots, pixels; NaN if there are none."""
        return self.distance_px / self.found if self.found else float("nan")

    @property
    def precision(self) -> float:
        """Part of A that is in B; NaN if A is empty."""
        return self.found / self.spots_a if self.spots_a else float("nan")

    @property
    def recall(self) -> float:
        """Part of B that is in A; NaN if B is empty."""
        return self.found / self.spots_b if self.spots_b else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN if both are empty."""
        total = self.spots_a + self.spots_b
        return 2 * self.found / total if total else float("nan")

    @property
    def pixel_iou(self) -> float:
        """Pixels in both over pixels in either; NaN if both are empty."""
        return self.pixels_both / self.pixels_either if self.pixels_either else float("nan")


def match_spots(a: np.ndarray, b: np.ndarray, max_distance_px: float = 3.0) -> Match:
    """Pair the spots of two segmentations of one projection.

    Parameters
    ----------
    a, b : arrays (rows, cols)
        Masks (bool or uint8; 8-connected components are spots) or label images (any other
        integer type; one value a spot, 0 between them).
    max_distance_px : float
        Centroids nearer than this match without overlap.

    Returns
    -------
    Match

    Raises
    ------
    ValueError
        The images differ in size.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"cannot match images of {a.shape} and {b.shape} pixels")
    labels_a, n_a = spot_labels(a)
    labels_b, n_b = spot_labels(b)
    in_a, in_b = labels_a > 0, labels_b > 0
    both = in_a & in_b
    pixels: dict[str, Any] = {
        "pixels_both": int(both.sum()),
        "pixels_either": int(in_a.sum() + in_b.sum() - both.sum()),
    }
    if n_a == 0 or n_b == 0:
        return Match(n_a, n_b, **pixels)
    area_a, centre_a = _areas_and_centres(labels_a, n_a)
    area_b, centre_b = _areas_and_centres(labels_b, n_b)

    code, shared = np.unique(
        labels_a[both].astype(np.int64) * (n_b + 1) + labels_b[both], return_counts=True
    )
    over_a, over_b = code // (n_b + 1), code % (n_b + 1)
    much = shared >= 0.5 * np.minimum(area_a[over_a - 1], area_b[over_b - 1])
    near_a, near_b = _near(centre_a, centre_b, max_distance_px)
    first = np.concatenate([over_a[much], near_a])
    second = np.concatenate([over_b[much], near_b])
    iou = np.zeros(first.size)
    union = area_a[over_a - 1] + area_b[over_b - 1] - shared
    iou[: much.sum()] = (shared / union)[much]
    distance = np.hypot(*(centre_a[first - 1] - centre_b[second - 1]).T)
    pairs = _one_to_one(first, second, np.lexsort((distance, -iou)), n_a, n_b)
    error = np.hypot(*(centre_a[pairs[:, 0] - 1] - centre_b[pairs[:, 1] - 1]).T)
    return Match(
        n_a,
        n_b,
        pairs,
        merged=_repeated(over_a[much]),
        split=_repeated(over_b[much]),
        centroid_error_px=error,
        **pixels,
    )


def spot_labels(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Spots of a mask (8-connected) or label image, numbered from 1, and how many there are."""
    if image.dtype.kind == "b" or image.dtype == np.uint8:
        from ..core import kernels

        out: np.ndarray = np.empty(image.shape, np.int32)
        return out, int(kernels.label(np.ascontiguousarray(image > 0), True, out))
    if image.size and image.min() >= 0 and image.max() < image.size:  # no need to sort them
        present = np.zeros(int(image.max()) + 1, np.int64)
        present[image.ravel()] = 1
        present[0] = 0
        number = np.cumsum(present)
        return (number * present)[image], int(number[-1])
    values, labels = np.unique(image, return_inverse=True)  # labels need not be consecutive
    labels = labels.reshape(image.shape)
    return (labels, values.size - 1) if 0 in values else (labels + 1, values.size)


def _areas_and_centres(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    flat = np.flatnonzero(labels)
    label = labels.ravel()[flat] - 1
    area = np.maximum(np.bincount(label, minlength=count), 1)
    rows = np.bincount(label, flat // labels.shape[1], count) / area
    cols = np.bincount(label, flat % labels.shape[1], count) / area
    return area, np.stack([rows, cols], axis=1)


def _near(a: np.ndarray, b: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.spatial import cKDTree

    neighbours = cKDTree(b).query_ball_point(a, distance)
    first = np.repeat(np.arange(len(a)), [len(n) for n in neighbours])
    second = np.array([j for n in neighbours for j in n], int)
    return first + 1, second + 1


def _one_to_one(
    first: np.ndarray, second: np.ndarray, order: np.ndarray, n_a: int, n_b: int
) -> np.ndarray:
    used_a, used_b = np.zeros(n_a + 1, bool), np.zeros(n_b + 1, bool)
    pairs = []
    for k in order:
        i, j = first[k], second[k]
        if not used_a[i] and not used_b[j]:
            used_a[i] = used_b[j] = True
            pairs.append((i, j))
    return np.array(pairs, int).reshape(-1, 2)


def _repeated(labels: np.ndarray) -> np.ndarray:
    values, counts = np.unique(labels, return_counts=True)
    return values[counts > 1]


#: Values of `agreement`: nothing, found by both, by A only, by B only.
NEITHER, BOTH, ONLY_A, ONLY_B = 0, 1, 2, 3


def agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two masks agree: uint8 ``(rows, cols)`` of `NEITHER`, `BOTH`, `ONLY_A`, `ONLY_B`."""
    code = (np.asarray(a) > 0).view(np.uint8) + 2 * (np.asarray(b) > 0).view(np.uint8)
    return np.array([NEITHER, ONLY_A, ONLY_B, BOTH], np.uint8)[code]


def residual(
    frame: np.ndarray, mask: np.ndarray, background: np.ndarray | None = None
) -> np.ndarray:
    """What a segmentation leaves of a projection: ``a - a * A``, float32 ``(rows, cols)``.

    Bright areas are spots, or parts of them, that the mask missed (paper, Fig. 5d and 5g).

    Parameters
    ----------
    frame : array (rows, cols)
        The projection, counts.
    mask : array (rows, cols)
        Non-zero is spot; there the residual is 0.
    background : array (rows, cols), optional
        Taken off the projection first, so that what is left stands on a flat ground.
    """
    left = np.asarray(frame, np.float32)
    if background is not None:
        left = left - np.asarray(background, np.float32)
    return np.where(np.asarray(mask) > 0, np.float32(0), left)


def unexplained(
    frame: np.ndarray,
    mask: np.ndarray,
    background: np.ndarray | None = None,
    n_sigma: float = 5.0,
    exclude: np.ndarray | None = None,
) -> np.ndarray:
    """Bright pixels that a segmentation leaves: spots, or parts of them, that it missed.

    Parameters
    ----------
    frame : array (rows, cols)
    mask : array (rows, cols)
        Non-zero is spot.
    background : array (rows, cols), optional
        Rolling median; a coarse median of the frame itself if not given.
    n_sigma : float
        How far above the local background, in local noise sigmas, a pixel is bright.
    exclude : bool array (rows, cols), optional
        Pixels that do not count, such as the beam stop.

    Returns
    -------
    bool array (rows, cols)
    """
    mask = np.asarray(mask) > 0
    ground = local_background(frame, background, mask)
    bright = frame - ground > np.float32(n_sigma) * noise_map(frame, ground)
    bright &= ~mask
    return bright if exclude is None else bright & ~exclude


def line_profile(
    image: np.ndarray, start: npt.ArrayLike, end: npt.ArrayLike, width_px: int = 1
) -> np.ndarray:
    """Values along a straight line, one a pixel length, averaged over its width.

    Parameters
    ----------
    image : array (rows, cols)
    start, end : (row, col)
        Both included; pixels outside the image are NaN.
    width_px : int
        Parallel lines, one pixel apart, that are averaged.

    Returns
    -------
    float array (n,)
    """
    from scipy import ndimage as ndi

    points = line_points(start, end)
    across = np.diff(points[[0, -1]], axis=0)[0][::-1] * (1, -1)
    length = np.hypot(*across)
    across = across / length if length else across
    offsets = np.arange(width_px) - (width_px - 1) / 2
    at = points[None] + offsets[:, None, None] * across
    values = ndi.map_coordinates(
        np.asarray(image, np.float64), at.transpose(2, 0, 1), order=1, cval=np.nan
    )
    inside = np.isfinite(values)
    count = inside.sum(axis=0)
    total = np.where(inside, values, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def line_points(start: npt.ArrayLike, end: npt.ArrayLike) -> np.ndarray:
    """The points ``(n, 2)`` of (row, col) at which `line_profile` samples."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    count = max(2, round(float(np.hypot(*(end - start)))) + 1)
    return start + np.linspace(0, 1, count)[:, None] * (end - start)
