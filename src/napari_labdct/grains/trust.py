"""Which grains to believe: what chance finds, the probability of a grain, and its uncertainties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..crystal import Material
from .indexing import PairTable, Stage, Voter, list_at
from .kernels import DISTANCE, GX, GZ, Planes, places_of
from .spot_images import SpotImages

__all__ = ["ChanceLevel", "chance_level", "evidence", "place_jacobian", "uncertainties"]


def evidence(hits: int, expected: int, coverage: float) -> float:
    """How much speaks for a grain: -log10 of the chance that random spots give so many hits.

    Neighbouring projections show the same spot twice, so two reflections count as one observation.

    Parameters
    ----------
    hits, expected : int
        Reflections seen, and expected, that no other grain explains.
    coverage : float
        Share of the detector that is covered by spots.
    """
    if expected == 0:
        return 0.0
    k, n = hits / 2, expected / 2
    if k <= 0:
        return 0.0
    # P(at least k of n) as the incomplete beta function, which takes halves too.
    tail = stats.beta.logcdf(min(max(coverage, 1e-4), 0.99), k, n - k + 1)
    return float(-tail / np.log(10))


@dataclass(frozen=True)
class ChanceLevel:
    """Evidence of the best candidate at each of some seeds in frames whose angles were shuffled.

    Attributes
    ----------
    values : ndarray (n,)
        0 where nothing was found.
    coverage : float
    """

    values: np.ndarray
    coverage: float

    @classmethod
    def none(cls) -> ChanceLevel:
        """Before anything was measured."""
        return cls(np.zeros(0), 0.01)

    def expected_false(self, value: float, seeds: int) -> float:
        """False grains of at least this evidence to expect from so many seeds.

        Up to the strongest that chance gave it is counted; beyond, it falls by ten for every two
        units of evidence, half as fast as for independent spots: those of a real sample are not.
        """
        n = len(self.values)
        if n == 0:
            return 0.0
        top = float(self.values.max())
        above = max(int((self.values >= value).sum()), 1) if value <= top else 1
        return seeds * above / (n + 1) * 10 ** (-max(value - top, 0.0) / 2)

    def probability(self, values: np.ndarray, seeds: int) -> np.ndarray:
        """Probability (n,) that each grain is real, from those found with as much evidence.

        One minus the expected number of false grains over the number of grains about as sure.
        """
        values = np.asarray(values, float)
        out = np.ones(len(values))
        for i, value in enumerate(values):
            near = max(int((np.abs(values - value) <= 1.0).sum()), 1)
            out[i] = 1 - min(self.expected_false(value, seeds) / near, 1.0)
        return out


def chance_level(
    images: SpotImages, planes: Planes, material: Material, stage: Stage, points: np.ndarray
) -> Iterator[ChanceLevel]:
    """Look for grains where there can be none: in the same spots at shuffled angles.

    Yields
    ------
    ChanceLevel
        After every point; the last one holds all.
    """
    shuffled = images.shuffled(np.random.default_rng(0))
    table = PairTable(planes, material.symmetry, 0.36)
    voter = Voter(shuffled, planes, table, material, stage)
    coverage = images.coverage(0)
    values: list[float] = []
    for point in points:
        best = 0.0
        for candidate in voter.candidates(point):
            seen = list_at(shuffled, planes, candidate.orientation, candidate.point_mm)
            hits, _ = seen.exclusive()
            best = max(best, evidence(hits, len(seen), coverage))
        values.append(best)
        yield ChanceLevel(np.array(values), coverage)


def uncertainties(
    images: SpotImages,
    vectors: np.ndarray,
    frames: np.ndarray,
    point_mm: np.ndarray,
    noise_px: float,
) -> tuple[float, float]:
    """Standard deviations of a grain's orientation (deg) and centre (um), per axis.

    From the curvature of the sum of squared distances between predicted and seen spot centres,
    for an error of `noise_px` of each centre; spots of neighbouring projections count as half.
    """
    if len(frames) < 4:
        return float("nan"), float("nan")
    _, jacobian = place_jacobian(images, vectors, frames, point_mm)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * 2 * noise_px**2
    sd = np.sqrt(np.maximum(np.diag(covariance), 0))
    return float(np.degrees(np.sqrt((sd[:3] ** 2).mean()))), float(
        np.sqrt((sd[3:] ** 2).mean()) * 1e3
    )


def place_jacobian(
    images: SpotImages, vectors: np.ndarray, frames: np.ndarray, point_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) of reflections, px, and how they change (2 m, 6) with a small rotation vector
    of the crystal (rad) and a shift of its centre (mm)."""
    steps = [np.radians(0.01)] * 3 + [1e-3] * 3
    columns = []
    start = _places(images, vectors, frames, point_mm, np.zeros(3))
    for k, size in enumerate(steps):
        turn, shift = np.zeros(3), np.zeros(3)
        (turn if k < 3 else shift)[k % 3] = size
        moved = _places(images, vectors, frames, point_mm + shift, turn)
        columns.append(((moved - start) / size).ravel())
    jacobian = np.stack(columns, axis=1)
    return start, jacobian


def _places(
    images: SpotImages, vectors: np.ndarray, frames: np.ndarray, point: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """(row, col) (m, 2) of reflections if the crystal is turned by a small rotation vector."""
    g = vectors[:, GX : GZ + 1]
    g = np.ascontiguousarray(g + np.cross(turn, g))
    out = np.empty((len(frames), 2))
    places_of(images.views, g, frames, np.asarray(point, float), out)
    return out


def noise_of(values: np.ndarray) -> float:
    """Error of a spot's centre, px, from how far the missed of the core reflections are off."""
    distance = (values & DISTANCE).astype(float)
    return float(max(0.5, np.sqrt((np.minimum(distance, 3) ** 2).mean())))
