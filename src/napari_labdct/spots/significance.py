"""How far a spot stands out of the noise, whatever a network says of it.

The significance of a spot is the largest response of a bank of matched filters at its pixels,
in noise sigmas.  For a filter g and the residual z (projection less its drift-followed median
and its local background, over the local noise) the response is::

    height = sum(g z) / sqrt(sum(g^2))

so that white noise alone gives every filter a standard normal height.  The filters are Gaussians
of `LENGTHS_PX` by `WIDTHS_PX` (standard deviations) in `DIRECTIONS` directions: about what
diffraction spots of a few pixels look like.  Of a spot larger than the largest filter it is
the significance of its brightest part.  Nothing is learnt here and nothing is tuned, which is what
makes it worth having beside a network: the two err for different reasons.
"""

from __future__ import annotations

from functools import cache

import numpy as np

#: Standard deviations of the filters along and across, pixels.
LENGTHS_PX = (1.0, 1.65, 2.7, 4.5)
WIDTHS_PX = (0.8, 1.2, 1.8)
#: Of the long axis, over half a turn.
DIRECTIONS = 8
# Beyond so many standard deviations a Gaussian adds 1 % to the height of a spot of its shape.
_CUT_SD = 2.2
# The long filters look only where the round ones reach this part of what they reach anywhere in
# the spot: they too are best on its ridge.
_NEAR_BEST = 0.8
_ROUND = 1.3  # length over width up to which the direction makes no difference


@cache
def filter_bank() -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The filters as lists of taps.

    Returns
    -------
    starts : int array (k + 1,)
        Filter ``f`` has the taps ``starts[f]`` to ``starts[f + 1]``; round ones come first.
    taps : int array (t, 2)
        Row and column from the middle of the filter.
    weights : float32 array (t,)
    n_round : int
        So many are round.
    """
    shapes = {tuple(sorted((a, b), reverse=True)) for a in LENGTHS_PX for b in WIDTHS_PX}
    starts, taps, weights = [0], [], []
    n_round = sum(length < _ROUND * width for length, width in shapes)
    for length, width in sorted(shapes, key=lambda shape: shape[0] / shape[1]):
        for k in range(1 if length < _ROUND * width else DIRECTIONS):
            turn = np.pi * k / DIRECTIONS
            reach = int(np.ceil(_CUT_SD * length))
            r, c = np.mgrid[-reach : reach + 1, -reach : reach + 1]
            along, across = c * np.cos(turn) - r * np.sin(turn), c * np.sin(turn) + r * np.cos(turn)
            square = (along / length) ** 2 + (across / width) ** 2
            near = square <= _CUT_SD**2
            taps.append(np.stack([r[near], c[near]], axis=1))
            weights.append(np.exp(-0.5 * square[near]))
            starts.append(starts[-1] + int(near.sum()))
    return (
        np.array(starts),
        np.concatenate(taps).astype(np.int64),
        np.concatenate(weights).astype(np.float32),
        n_round,
    )


def significance(
    in_noise: np.ndarray,
    labels: np.ndarray,
    enough: float = np.inf,
    count: int | None = None,
    inside: np.ndarray | None = None,
) -> np.ndarray:
    """Height of each spot in the bank of matched filters, float32 ``(n,)``, in noise sigmas.

    Parameters
    ----------
    in_noise : array (rows, cols)
        Residual over the local noise sigma.
    labels : int array (rows, cols)
        0 or the number, from 1 to n, of a spot.
    enough : float
        Spots that reach it are looked at no further, which is much quicker; their value is then
        at least this one.
    count : int, optional
        n; the largest label if not given.
    inside : int array, optional
        Flat indices of the labelled pixels, if they are known.
    """
    from . import significance_kernels

    labels = np.asarray(labels)
    count = int(labels.max(initial=0)) if count is None else count
    best = np.full(count + 1, -np.inf, np.float32)
    flat = np.flatnonzero(labels) if inside is None else inside
    if flat.size:
        image = np.ascontiguousarray(in_noise, np.float32)
        at = (*np.divmod(flat, labels.shape[1]), labels.ravel()[flat])
        starts, taps, weights, n_round = filter_bank()
        own = np.full(flat.size, -np.inf, np.float32)
        rest = (taps, weights, np.float32(enough), best)
        raise_heights = significance_kernels.raise_heights
        raise_heights(image, *at, starts[: n_round + 1], *rest, own)
        wanted = own >= _NEAR_BEST * best[at[2]]
        at = tuple(values[wanted] for values in at)
        raise_heights(image, *at, starts[n_round:], *rest, own[wanted])
    return best[1:]
