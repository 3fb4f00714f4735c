"""False spots where there is nothing, and what a crowd of spots does to them.

On blank frames everything found is false.  The same frames with a part of the spots, and with all,
tell whether a method takes the crowd itself for evidence: false spots on nothing then grow with
the number of true ones, though the noise stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.jobs import Progress
from ..networks.evidence import spot_area
from ..networks.spot_width import spot_width
from ..spots.components import EIGHT
from .baselines import Projection
from .benchmark import Method, projections_of, score
from .blank_scans import BlankFrames, BlankRecipe, crowding_recipes
from .phantoms import cached_scan

#: So near to the edge of the detector a false spot is counted as one of the edge.
EDGE_PX = 16
#: Nobody takes fewer pixels for a spot.
SMALLEST_PX = 3
_COSMIC_SIGMA = 6.0


def false_on_blank(
    methods: Sequence[Method], blank: BlankFrames
) -> Iterator[Progress | dict[str, dict[str, float]]]:
    """What methods find a frame where no spot is.

    Yields
    ------
    Progress, and at the end a dict of method to ``components`` of 3 pixels or more, and how many
    of them lie on ``cosmic`` rays, at the ``edge`` and ``inside``
    """
    width, area = spot_width(blank.frames), spot_area(blank.frames)
    nowhere = np.zeros(blank.ground.shape, bool)
    counts = {m.name: dict.fromkeys(("components", "cosmic", "edge", "inside"), 0) for m in methods}
    total = len(blank.frames)
    for index, frame in enumerate(blank.frames):
        yield Progress(index, total)
        projection = Projection(frame, blank.ground, nowhere, width, area)
        hit = projection.in_noise() > _COSMIC_SIGMA
        for method in methods:
            for name, number in _places(method.segment(projection), hit).items():
                counts[method.name][name] += number
    yield Progress(total, total)
    yield {m: {name: n / total for name, n in of.items()} for m, of in counts.items()}


def _places(mask: np.ndarray, hit: np.ndarray) -> dict[str, int]:
    """How many spots of a mask or label image lie on hits, at the edge, and elsewhere."""
    from scipy import ndimage as ndi

    mask = np.asarray(mask)
    labels, count = ndi.label(mask, EIGHT) if mask.dtype.kind in "bu" else (mask, int(mask.max()))
    inside = np.zeros(mask.shape, bool)
    inside[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX] = True
    near = ndi.binary_dilation(hit, EIGHT)
    area, hits, in_middle = (
        np.bincount(labels[where], minlength=count + 1)[1:]
        for where in (labels > 0, near & (labels > 0), inside & (labels > 0))
    )
    large = area >= SMALLEST_PX
    cosmic = large & (hits > 0)
    edge = large & ~cosmic & (2 * in_middle < area)
    return {
        "components": int(large.sum()), "cosmic": int(cosmic.sum()), "edge": int(edge.sum()),
        "inside": int((large & ~cosmic & ~edge).sum()),
    }  # fmt: skip


def crowding(
    methods: Sequence[Method], recipe: BlankRecipe, folder: str | Path
) -> Iterator[Progress | list[dict[str, Any]]]:
    """False spots on nothing over the share of the spots that are there.

    Yields
    ------
    Progress, and at the end a row for each share and method: ``share``, ``true_spots`` a frame,
    ``method``, ``false_on_nothing`` a frame
    """
    recipes = crowding_recipes(recipe)
    rows = []
    for done, less in enumerate(recipes):
        yield Progress(done, len(recipes), f"{recipe.name}, {less.share:.0%} of the spots")
        pairs = list(projections_of(cached_scan(less, folder)))
        for method in methods:
            numbers = score(method, pairs).numbers()
            rows.append({
                "share": less.share, "true_spots": numbers["true_spots"], "method": method.name,
                "false_on_nothing": numbers["false on nothing"],
            })  # fmt: skip
    yield Progress(len(recipes), len(recipes))
    yield rows
