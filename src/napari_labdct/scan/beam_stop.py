"""Where the beam stop lies, guessed from the projections."""

from __future__ import annotations

import numpy as np

from .description import Polygon
from .scan import Scan


def guess_beam_stop(scan: Scan, n_samples: int = 7) -> tuple[Polygon, ...]:
    """Outline of the dark shadow near the image centre, or nothing if there is none.

    The median of a few projections is free of spots; the shadow is the dark region next
    to the centre below half the level of the ring around it.

    Returns
    -------
    tuple of polygons
        One polygon of (row, col) corners in pixels, or an empty tuple.
    """
    from scipy import ndimage as ndi
    from skimage.measure import approximate_polygon, find_contours
    from skimage.morphology import convex_hull_image

    indices = np.unique(np.linspace(0, scan.n_frames - 1, n_samples).round().astype(int))
    shrink = max(1, max(scan.shape) // 512)
    # as stored: the detector mask may have filled a shadow of zeros
    seen = np.stack([scan.raw(i)[::shrink, ::shrink] for i in indices])
    if not np.isfinite(seen).all():
        seen = np.stack([scan.frame(i)[::shrink, ::shrink] for i in indices])
    view = np.median(seen, axis=0)
    view = ndi.median_filter(view, 5)
    rows, cols = np.indices(view.shape)
    centre = (np.array(view.shape) - 1) / 2
    radius = np.hypot(rows - centre[0], cols - centre[1]) / (min(view.shape) / 2)
    near = radius < 0.5
    ring = float(np.median(view[(radius > 0.45) & (radius < 0.75)]))
    floor = float(np.percentile(view[near], 0.5))
    if ring <= 0 or floor > 0.8 * ring:
        return ()
    dark = (view < 0.5 * (floor + ring)) & near
    labels, count = ndi.label(ndi.binary_opening(dark, iterations=2))
    if count == 0:
        return ()
    largest = 1 + int(np.argmax(ndi.sum_labels(dark, labels, np.arange(1, count + 1))))
    shadow = convex_hull_image(labels == largest)
    if shadow.mean() < 2e-4:
        return ()
    outline = max(find_contours(np.pad(shadow, 1).astype(float), 0.5), key=len) - 1
    corners = approximate_polygon(outline, tolerance=max(2.0, 0.02 * np.sqrt(shadow.sum())))[:-1]
    return (tuple((float(r * shrink), float(c * shrink)) for r, c in corners.round(1)),)
