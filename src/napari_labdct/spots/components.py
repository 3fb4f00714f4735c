"""Connected components of a mask: which pixels touch, and what is too small to be a spot."""

from __future__ import annotations

import numpy as np

#: 8-connectivity: pixels that touch at a corner belong to one spot.
EIGHT = np.ones((3, 3), bool)


def drop_small(mask: np.ndarray, min_size_px: int) -> np.ndarray:
    """Without the 8-connected components of fewer than `min_size_px` pixels."""
    from ..core import kernels

    kept = np.array(mask, bool, order="C")
    if min_size_px > 1:
        kernels.drop_small(kept, min_size_px, np.empty(kept.shape, np.int32))
    return kept


def label_eight(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The 8-connected components of a mask, numbered as by `scipy.ndimage.label`; in half its time.

    Returns
    -------
    labels : int32 array (rows, cols)
    count : int
    """
    from ..core import kernels

    labels = np.empty(mask.shape, np.int32)
    return labels, kernels.label(np.ascontiguousarray(mask), True, labels)
