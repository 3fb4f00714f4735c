"""Corrections of a label image: erase, merge, split, grow.

Each function looks at the label image of one projection and returns an `Edit`; it changes
nothing itself.  `review.Review` applies edits, keeps them and undoes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..core.errors import SettingsError
from ..core.parameters import Param, Settings
from ..core.robust import robust_sigma
from ..spots.components import EIGHT


@dataclass(frozen=True)
class Edit:
    """New labels for some pixels of one projection.

    Parameters
    ----------
    index : int64 array (k,)
        Flat positions in the label image, ascending.
    ids : int32 array (k,)
        New label of each; 0 is no spot.
    """

    index: np.ndarray
    ids: np.ndarray

    @property
    def empty(self) -> bool:
        return self.index.size == 0


@dataclass(frozen=True, kw_only=True)
class GrowSettings(Settings):
    """How a spot grows from a click."""

    job: ClassVar[str] = "grow"

    contour: Annotated[
        int,
        Param(
            "Contour",
            "%",
            5,
            95,
            5,
            "The new spot reaches down to this part of its height over the local background.",
        ),
    ] = 40
    reach_px: Annotated[
        int, Param("Reach", "px", 3, 200, 1, "Farthest a new spot goes from the click.")
    ] = 25


def edit(labels: np.ndarray, index: np.ndarray, ids: np.ndarray | int) -> Edit:
    """An `Edit` of the pixels that really change."""
    index = np.asarray(index, np.int64).ravel()
    ids = np.broadcast_to(np.asarray(ids, np.int32), index.shape)
    index, first = np.unique(index, return_index=True)
    ids = ids[first]
    differs = labels.ravel()[index] != ids
    return Edit(index[differs], ids[differs].astype(np.int32))


def erase(labels: np.ndarray, ids) -> Edit:
    """Remove whole spots."""
    return edit(labels, np.flatnonzero(np.isin(labels, ids)), 0)


def merge(labels: np.ndarray, ids) -> Edit:
    """Make one spot of several; gaps are bridged by a line, so that it stays one in a mask.

    Raises
    ------
    SettingsError
        Fewer than two spots are given.
    """
    from scipy.spatial import cKDTree
    from skimage.draw import line

    ids = sorted({int(i) for i in ids if np.any(labels == i)})
    if len(ids) < 2:
        raise SettingsError("Choose at least two spots of one projection to merge.")
    kept = np.argwhere(labels == ids[0])
    for other in ids[1:]:
        pixels = np.argwhere(labels == other)
        distance, nearest = cKDTree(kept).query(pixels)
        k = int(np.argmin(distance))
        bridge = np.stack(line(*pixels[k], *kept[nearest[k]]), axis=1)
        kept = np.concatenate([kept, pixels, bridge])
    flat = np.ravel_multi_index(tuple(kept.T), labels.shape)
    other = ~np.isin(labels.ravel()[flat], [0, *ids])  # a bridge takes nothing from a third spot
    return edit(labels, flat[~other], ids[0])


def split(labels: np.ndarray, spot: int, frame: np.ndarray, next_id: int, parts: int = 2) -> Edit:
    """Cut a spot by a watershed into `parts`; the brightest part keeps the id.

    The valleys between its brightest points are followed; a spot of one brightness is cut at
    its waist, or across its long axis if it has none.

    Parameters
    ----------
    labels : int array (rows, cols)
    spot : int
        The spot to cut.
    frame : array (rows, cols)
        The projection.
    next_id : int
        First free id for the new parts.
    parts : int

    Raises
    ------
    SettingsError
        The spot is too small.
    """
    from scipy import ndimage as ndi
    from skimage.segmentation import watershed

    inside = labels == spot
    if inside.sum() < 2 * parts:
        raise SettingsError(f"Spot {spot} is too small to be split into {parts}.")
    (box,) = ndi.find_objects(inside.astype(np.uint8))
    box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
    inside = inside[box]
    light = ndi.gaussian_filter(frame[box].astype(np.float32), 0.7)
    waist = ndi.distance_transform_edt(inside)
    for height in (light, waist + 1e-3 * (light - light.min()) / max(np.ptp(light), 1e-6)):
        seeds = _highest(height, inside, parts)
        if len(seeds) == parts:
            break
    else:
        height, seeds = np.zeros_like(waist), _along_axis(inside, parts)
    markers = np.zeros(inside.shape, np.int32)
    for number, (row, col) in enumerate(seeds):
        markers[row, col] = number + 1
    cut = watershed(-height, markers, mask=inside, connectivity=2)
    target = np.concatenate([[0, spot], np.arange(next_id, next_id + parts - 1)])
    rows, cols = np.nonzero(cut)
    flat = np.ravel_multi_index((rows + box[0].start, cols + box[1].start), labels.shape)
    return edit(labels, flat, target[cut[rows, cols]])


def _highest(height: np.ndarray, inside: np.ndarray, count: int) -> list[tuple[int, int]]:
    """The `count` highest local maxima with a valley between any two of them."""
    from skimage.draw import line
    from skimage.feature import peak_local_max

    lowest, highest = height[inside].min(), height[inside].max()
    if highest - lowest <= 1e-6:
        return []
    found = peak_local_max(
        np.where(inside, height - lowest + 1e-6, 0),
        min_distance=1,
        labels=inside.astype(np.int32),
        exclude_border=False,
    )
    seeds: list[tuple[int, int]] = []
    for row, col in found.tolist():
        top = height[row, col]
        # peaks come highest first, so the candidate's own height is the lower of the two
        valleys = [top - height[line(row, col, r, c)].min() for r, c in seeds]
        if all(depth > 0.05 * (highest - lowest) for depth in valleys):
            seeds.append((row, col))
        if len(seeds) == count:
            break
    return seeds


def _along_axis(inside: np.ndarray, parts: int) -> list[tuple[int, int]]:
    """Points spread along the long axis of a spot."""
    pixels = np.argwhere(inside)
    centred = pixels - pixels.mean(axis=0)
    axis = np.linalg.eigh(np.cov(centred.T))[1][:, 1]
    order = pixels[np.argsort(centred @ axis, kind="stable")]
    at = ((np.arange(parts) + 0.5) / parts * len(order)).astype(int)
    return [(int(r), int(c)) for r, c in order[at]]


def grow(
    labels: np.ndarray,
    frame: np.ndarray,
    background: np.ndarray,
    point: tuple[int, int],
    spot: int,
    settings: GrowSettings | None = None,
) -> Edit:
    """A new spot at a click, grown to the contour around the brightest pixel near it.

    The spot is the 8-connected region, free of other spots, above `contour` per cent of the
    height of that pixel over the local background (a 3 x 3 mean steadies both).

    Parameters
    ----------
    labels : int array (rows, cols)
    frame, background : arrays (rows, cols)
        The projection, and what it would read without spots.
    point : (row, col)
        The click.
    spot : int
        Id of the new spot; that of a spot already there makes that spot larger.
    settings : GrowSettings, optional

    Raises
    ------
    SettingsError
        Nothing brighter than its surroundings is there.
    """
    from scipy import ndimage as ndi

    settings = settings or GrowSettings()
    reach = settings.reach_px
    row, col = (min(max(int(p), 0), n - 1) for p, n in zip(point, labels.shape))
    box = np.s_[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
    signal = ndi.uniform_filter(frame[box].astype(np.float32) - background[box], 3, mode="nearest")
    free = (labels[box] == 0) | (labels[box] == spot)
    level = float(np.median(signal[free])) if free.any() else 0.0
    r, c = row - box[0].start, col - box[1].start
    near = np.zeros(signal.shape, bool)
    near[max(0, r - 2) : r + 3, max(0, c - 2) : c + 3] = True
    near &= free
    if not near.any():
        raise SettingsError("There is a spot already; choose another place.")
    top = np.unravel_index(np.argmax(np.where(near, signal, -np.inf)), signal.shape)
    height = float(signal[top]) - level
    spread = robust_sigma(signal[free], level)
    if height <= 2 * spread:
        raise SettingsError("Nothing here is brighter than its surroundings; click on a spot.")
    above = (signal - level >= settings.contour / 100 * height) & free
    grown = ndi.label(above, EIGHT)[0]
    rows, cols = np.nonzero(grown == grown[top])
    flat = np.ravel_multi_index((rows + box[0].start, cols + box[1].start), labels.shape)
    return edit(labels, flat, spot)


def separate(labels: np.ndarray) -> np.ndarray:
    """A mask in which touching spots stay apart: the lower label gives up its border pixels.

    A spot so thin that nothing would be left of it keeps its pixels; then its neighbours give up
    theirs.

    Parameters
    ----------
    labels : int array (rows, cols)

    Returns
    -------
    bool array (rows, cols)
    """
    kept = _highest_around(labels)
    lost = np.setdiff1d(labels[labels > 0], labels[kept])
    if lost.size:
        above = np.isin(labels, lost) * labels.max(initial=0)
        kept = _highest_around(labels + above)
    return kept


def _highest_around(labels: np.ndarray) -> np.ndarray:
    """Pixels of labels that touch no pixel of a higher one, bool (rows, cols)."""
    kept = labels > 0
    flat = np.flatnonzero(kept)
    rows, cols = np.unravel_index(flat, labels.shape)
    own = labels.ravel()[flat]
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            r = np.clip(rows + dr, 0, labels.shape[0] - 1)
            c = np.clip(cols + dc, 0, labels.shape[1] - 1)
            kept.ravel()[flat[labels[r, c] > own]] = False
    return kept
