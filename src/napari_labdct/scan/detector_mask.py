"""Pixels that carry no information, and what is put in their place.

Gaps between modules, dead modules, areas that are always saturated, values that are no counts
(NaN, infinite, 2^32 - 1): left alone they are edges that look like spots.  Here they are found, and
filled with what their surroundings go on as: smooth, with the noise of the surroundings, so that
medians, networks and filters meet neither an edge nor a patch of another texture.  Results hold
nothing there.

A scan without such pixels costs one look for the least and the largest value of a projection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.errors import ScanError
from ..core.robust import MAD_TO_SIGMA
from ..core.stacks import FrameStack

#: Projections looked at, and how many of them must agree on what they show always.
LOOKS, FEWEST_LOOKS = 7, 3
# No detector counts so far, least of all so far above everything else.
_BEYOND_COUNTS = 1 << 28
_BEYOND_MEDIAN = 1000
_ENOUGH_FOR_MEDIAN = 1 << 18
# Always saturated or always dark: smaller areas are hot and cold pixels, which a rolling median
# takes away and networks are used to.
_SATURATED_PX = 9
_DARK_PX = 16
# Detectors end in straight lines, shadows do not: so much of an outline in runs of so many pixels.
_STRAIGHT_PART, _STRAIGHT_PX = 0.8, 8
# Around a dark area that says nothing, nearly all pixels see light.
_LIT_PART, _RING_PX = 0.98, 4
_CELL_PX = 4
_ENOUGH_PX = 8  # of a cell, to stand for it
_NOISE_PX, _NOISE_ROWS = 32, 4  # edge of a block, and which of its rows are looked at


@dataclass(frozen=True)
class Reading:
    """A projection as everything after it should see it.

    Parameters
    ----------
    image : array (rows, cols)
        Counts, finite; filled where nothing was measured.
    left_out : bool array (rows, cols) or None
        Where that was done; None if nowhere.
    blank : bool
        It shows the same value everywhere: there is nothing to be found in it.
    remark : str
        Empty, or a sentence for the user.
    """

    image: np.ndarray
    left_out: np.ndarray | None = None
    blank: bool = False
    remark: str = ""


def native(image: np.ndarray) -> np.ndarray:
    """A projection in the byte order of this machine; bool as uint8, floats as float32."""
    image = np.asarray(image)
    if image.dtype.kind == "b":
        return image.astype(np.uint8)
    if image.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return image.astype(np.float32, copy=False)
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def span(image: np.ndarray) -> tuple[float, float]:
    """Least and largest value; NaN if any is."""
    return image.min(), image.max()


def no_counts(image: np.ndarray, low: float, high: float) -> np.ndarray | None:
    """Where a projection holds what cannot be counts, or None if nowhere.

    Parameters
    ----------
    image : array (rows, cols)
    low, high : float
        From `span`.

    Returns
    -------
    bool array (rows, cols) or None
        NaN and infinite values; values beyond 2^28 and a thousand times the median.
    """
    if high <= _BEYOND_COUNTS and low >= -_BEYOND_COUNTS:  # not with NaN
        return None
    wrong = ~np.isfinite(image) if image.dtype.kind == "f" else np.zeros(image.shape, bool)
    good = image[~wrong]
    if good.size:
        level = float(np.median(good[:: max(1, good.size // _ENOUGH_FOR_MEDIAN)]))
        most = max(_BEYOND_COUNTS, int(_BEYOND_MEDIAN * max(level, 0)))
        wrong |= image > most
        if low < 0 or low != low:
            wrong |= image < -most
    return wrong if wrong.any() else None


def either(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Where one of two masks is True, either of which may be missing."""
    if one is None or other is None:
        return other if one is None else one
    return one | other


def may_be_masked(low: float, high: float, dtype: np.dtype) -> bool:
    """Whether a projection has values at all that an area without information would show."""
    return bool(low <= 0) or _is_full(high, dtype)


def _is_full(value: float, dtype: np.dtype) -> bool:
    """Whether a value is the largest of the type, the one below, or 2^n - 1 of 8 bits and more."""
    if dtype.kind in "ui" and value >= np.iinfo(dtype).max - 1:
        return True
    if not np.isfinite(value) or value < 255 or value != int(value):
        return False
    whole = int(value)
    # float32 rounds 2^32 - 1 up
    return whole & (whole + 1) == 0 or (whole >= 1 << 24 and whole & (whole - 1) == 0)


def judged(
    image: np.ndarray, index: int, mask: Callable[[], np.ndarray | None], always: bool = False
) -> Reading:
    """What of projection `index` was measured; its image is not filled yet.

    Parameters
    ----------
    image : array (rows, cols)
        From `native`.
    index : int
        For the remark.
    mask : callable
        Gives the mask of all projections; asked only if a projection looks like having one.
    always : bool
        The mask counts, whatever the projection looks like.
    """
    low, high = span(image)
    wrong = no_counts(image, low, high)
    if low == high or (wrong is not None and wrong.all()):
        value = f"{low:g} everywhere" if np.isfinite(low) else "without a number"
        image = image if np.isfinite(low) else np.zeros_like(image)
        remark = f"Projection {index} is blank ({value}) and shows no spots."
        return Reading(image, blank=True, remark=remark)
    left_out = wrong
    if always or wrong is not None or may_be_masked(low, high, image.dtype):
        left_out = either(wrong, mask())
    if left_out is None:
        return Reading(image)
    remark = ""
    if not left_out.all() and np.ptp(image[~left_out]) == 0:
        remark = f"Projection {index} is blank and shows no spots."
        return Reading(image, left_out, True, remark)
    if wrong is not None and ((known := mask()) is None or np.any(wrong & ~known)):
        remark = f"Projection {index}: values that are no counts are left out."
    return Reading(image, left_out, remark=remark)


def checked_mask(mask: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
    """A mask that somebody gave for the projections of a scan, bool ``(rows, cols)``.

    Raises
    ------
    ScanError
        It is of another size, or leaves nothing.
    """
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise ScanError(
            f"The detector mask has {' x '.join(map(str, mask.shape))} pixels, but the projections "
            f"of '{name}' have {shape[0]} x {shape[1]}; give a mask of their size."
        )
    if np.all(mask != 0):
        raise ScanError(
            "The detector mask leaves out every pixel; pixels that are not 0 are left out, so it "
            "may be the wrong way round."
        )
    return mask != 0


def countable(image: np.ndarray) -> np.ndarray:
    """Values of a projection that can be counts, flat; not those of more than a few full pixels."""
    image = native(image)
    wrong = no_counts(image, *span(image))
    values = image.ravel() if wrong is None else image[~wrong]
    top = values.max() if values.size else 0
    # 8 bits hold masks and the output of networks, too
    if image.dtype.kind in "ui" and image.dtype.itemsize > 1 and _is_full(top, image.dtype):
        rest = values[values < top]
        if 0 < rest.size < 0.998 * values.size:
            return rest
    return values


class FoundMask:
    """What a few projections of a stack show to carry no information; looked for once.

    Parameters
    ----------
    frames : stack (n, rows, cols)
    """

    def __init__(self, frames: FrameStack) -> None:
        self.frames = frames
        self.known = False
        self._mask: np.ndarray | None = None
        self._lock = threading.Lock()

    @property
    def mask(self) -> np.ndarray | None:
        """Bool ``(rows, cols)``, True where nothing is measured, or None; see `find_mask`."""
        with self._lock:
            if not self.known:
                self._mask, self.known = find_mask(self.frames), True
            return self._mask


def find_mask(frames: FrameStack) -> np.ndarray | None:
    """Pixels that carry no information in any projection.

    Of a few projections spread over the stack, what all show alike: values that are no counts;
    areas at the largest value of the type or at 2^n - 1; and areas at 0 or below with straight
    edges, such as gaps and dead modules, amid pixels that see light.  A dark area round the middle
    of the image that stands alone is a beam stop and does not count.

    Parameters
    ----------
    frames : stack (n, rows, cols)
        Fewer than three projections tell of values that are no counts, and of nothing else.

    Returns
    -------
    bool array (rows, cols) or None
        None if there are none.
    """
    first: np.ndarray | None = None
    looked = 0
    for index in np.unique(np.linspace(0, frames.shape[0] - 1, LOOKS).round().astype(int)):
        try:
            image = native(frames[int(index)])
        except ScanError:  # the run will tell
            continue
        low, high = span(image)
        wrong = no_counts(image, low, high)
        wrong = np.zeros(image.shape, bool) if wrong is None else wrong
        if wrong.all() or np.ptp(image[~wrong]) == 0:
            continue
        looked += 1
        if first is None:
            first, never = image, wrong
            full, dark = _full(image, wrong), (image <= 0) & ~wrong
            lit = np.zeros(image.shape, np.uint8)
        else:
            never = never & wrong
            same = image == first
            full, dark = full & same, dark & same
        lit += image > 0
        if not (never.any() or full.any() or dark.any()):
            return None
    if first is None:
        return None
    mask = never
    if looked >= FEWEST_LOOKS:
        mask = mask | _large(full)
        mask |= _gaps(dark, mask, 2 * lit >= looked)
    return mask if mask.any() else None


def _full(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Where the largest values of a projection are such as full pixels show."""
    found = np.zeros(image.shape, bool)
    rest = image[~wrong]
    for _ in range(3):
        top = rest.max() if rest.size else 0
        if not _is_full(top, image.dtype):
            break
        found |= image == top
        rest = rest[rest < top]
    return found


def _large(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage as ndi

    if not mask.any():
        return mask
    labels, count = ndi.label(mask, np.ones((3, 3)))
    return (np.bincount(labels.ravel(), minlength=count + 1) >= _SATURATED_PX)[labels] & mask


def _gaps(dark: np.ndarray, other: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """Dark areas with straight edges amid light."""
    from scipy import ndimage as ndi

    found = np.zeros(dark.shape, bool)
    if not dark.any():
        return found
    labels, count = ndi.label(dark)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    wanted = (area >= _DARK_PX) & (area <= dark.size // 2)
    wanted[0] = False
    labels, count = ndi.label(wanted[labels])
    for number, box in enumerate(ndi.find_objects(labels), 1):
        around = tuple(slice(max(s.start - _RING_PX - 1, 0), s.stop + _RING_PX + 1) for s in box)
        part = labels[around] == number
        near = ndi.binary_dilation(part)
        ring = ndi.binary_dilation(near, iterations=_RING_PX) & ~near & ~dark[around]
        ring &= ~other[around]
        if not ring.any() or lit[around][ring].mean() < _LIT_PART:
            continue
        alone = not (near & other[around]).any()
        if alone and _is_middle(box, dark.shape):
            continue
        if not _straight(labels[box] == number, box, dark):
            continue
        found[around] |= part
    return found


def _is_middle(box: tuple[slice, slice], shape: tuple[int, int]) -> bool:
    """Whether a box lies round the middle of the image and reaches none of its edges."""
    return all(0 < s.start <= n / 2 <= s.stop < n for s, n in zip(box, shape, strict=True))


def _straight(part: np.ndarray, box: tuple[slice, slice], image: np.ndarray) -> bool:
    """Whether the outline of an area runs along rows and columns; the image's own is left out."""
    from scipy import ndimage as ndi

    padded = np.pad(part, 1)
    for axis, (side, n) in enumerate(zip(box, image.shape, strict=True)):
        outer = np.moveaxis(padded, axis, 0)
        outer[0] |= side.start == 0 and outer[1]
        outer[-1] |= side.stop == n and outer[-2]
    along, total = 0, 0
    for axis in (0, 1):
        line = np.zeros((3, 3), bool)
        line[:, 1] = axis == 1
        line[1, :] |= axis == 0
        line[1, 1] = True
        for way in (1, -1):
            edge = padded & ~np.roll(padded, way, axis)
            # what came round from the other side is no outline
            np.moveaxis(edge, axis, 0)[0 if way == 1 else -1] = False
            runs, count = ndi.label(edge, line)
            length = np.bincount(runs.ravel(), minlength=count + 1)[1:]
            total += length.sum()
            along += length[length >= _STRAIGHT_PX].sum()
    return total == 0 or along >= _STRAIGHT_PART * total


# ------------------------------------------------------------------------- filling


def filled(image: np.ndarray, left_out: np.ndarray, seed: int = 0) -> np.ndarray:
    """A projection with other values where nothing was measured.

    Means of small cells of measured pixels, and where there are too few of larger ones, are
    interpolated linearly; then comes normal noise of the sigma that neighbours differ by there.

    Parameters
    ----------
    image : array (rows, cols)
    left_out : bool array (rows, cols)
        True where nothing was measured.
    seed : int
        Of the noise: the same projection is always filled alike.

    Returns
    -------
    array (rows, cols)
        Of the type of `image`; zeros if no pixel was measured.
    """
    rows, cols = np.nonzero(left_out)
    values = image.astype(np.float32)
    values[left_out] = 0
    out = image.copy()
    if rows.size == left_out.size:
        out[:] = 0
        return out
    weight = (~left_out).astype(np.float32)
    cells = _from_coarser(_cells(values, _CELL_PX), _cells(weight, _CELL_PX))
    new = _at(cells, rows, cols, _CELL_PX)
    sigma = _at(_noise(values, left_out), rows, cols, _NOISE_PX)
    new += sigma * np.random.default_rng(seed).standard_normal(rows.size, np.float32)
    if image.dtype.kind in "ui":
        limits = np.iinfo(image.dtype)
        new = np.clip(np.rint(new), max(limits.min, -(1 << 31)), min(limits.max, 1 << 31))
    elif values.min() >= 0:
        np.maximum(new, 0, out=new)
    out[rows, cols] = new.astype(image.dtype)
    return out


def _cells(image: np.ndarray, size: int) -> np.ndarray:
    """Sums over squares of `size` px; those at the far edges are smaller."""
    pad = [(0, -n % size) for n in image.shape]
    image = np.pad(image, pad) if any(after for _, after in pad) else image
    flat: np.ndarray = sum(image[k::size] for k in range(size))  # type: ignore[assignment]  # 0 + arrays
    return sum(flat[:, k::size] for k in range(size))  # type: ignore[return-value]  # 0 + arrays


def _from_coarser(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Means of cells; those of too little weight take what cells of twice the size show."""
    mean = total / np.maximum(weight, np.float32(1e-6))
    poor = np.nonzero(weight < _ENOUGH_PX)
    if poor[0].size and weight.size > 1:
        coarse = _from_coarser(_cells(total, 2), _cells(weight, 2))
        part = weight[poor] / np.float32(_ENOUGH_PX)
        mean[poor] = part * mean[poor] + (1 - part) * _at(coarse, poor[0], poor[1], 2)
    return mean


def _at(grid: np.ndarray, rows: np.ndarray, cols: np.ndarray, size: int) -> np.ndarray:
    """Linear interpolation between the centres of cells, level beyond the outer ones."""
    lows, parts = [], []
    for at, n in zip((rows, cols), grid.shape, strict=True):
        place = np.clip((at + 0.5) / size - 0.5, 0, n - 1)
        low = np.minimum(place.astype(np.intp), max(n - 2, 0))
        lows.append((low, np.minimum(low + 1, n - 1)))
        parts.append((place - low).astype(np.float32))
    (r0, r1), (c0, c1) = lows
    upper = grid[r0, c0] + parts[1] * (grid[r0, c1] - grid[r0, c0])
    lower = grid[r1, c0] + parts[1] * (grid[r1, c1] - grid[r1, c0])
    return upper + parts[0] * (lower - upper)


def _noise(values: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Noise sigma in blocks, from neighbours along rows that were both measured."""
    from ..core import block_kernels

    thin = values[::_NOISE_ROWS]
    known = ~left_out[::_NOISE_ROWS]
    difference = np.abs(thin[:, 1:] - thin[:, :-1])
    pairs = known[:, 1:] & known[:, :-1]
    if not difference.size:
        return np.zeros((1, 1), np.float32)
    edges = [
        np.append(np.arange(0, n, size), n)
        for n, size in zip(difference.shape, (_NOISE_PX // _NOISE_ROWS, _NOISE_PX), strict=True)
    ]
    blocks = np.empty([edge.size - 1 for edge in edges], np.float32)
    kernel: Callable[..., None] = block_kernels.block_medians
    kernel(0, difference.shape[0], difference, pairs, *edges, blocks)
    seen = np.isfinite(blocks)
    weight = seen.astype(np.float32) * _ENOUGH_PX
    middle = _from_coarser(np.where(seen, blocks, 0) * weight, weight)
    return middle * np.float32(MAD_TO_SIGMA / np.sqrt(2))
