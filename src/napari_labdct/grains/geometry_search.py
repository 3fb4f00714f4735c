"""Which way round a scan is: grains looked for with a geometry that is off, and the fit to them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..core.errors import ScanError
from ..crystal import Material, misorientation_deg
from ..scan.geometry import ScanGeometry
from .geometry_fit import GeometryFit, Observed, SpotTable, as_vector, fit_geometry, with_vector
from .indexing import Candidate, PairTable, Stage, Voter, list_at
from .kernels import GX, GZ, Planes
from .spot_images import SpotImages, spot_length_px
from .trust import evidence

if TYPE_CHECKING:
    from ..scan.scan import Scan

__all__ = ["SETUPS", "Attempt", "Setup", "same_planes"]

#: Candidates nearer to one another than this are one grain while the geometry is unsure.
_SAME_DEG = 0.7
#: Fewest reflections that fix a grain together with the geometry.
_LEAST_SPOTS = 15
#: Evidence that a candidate needs beyond the best that chance gave.
_BEYOND_CHANCE = 3.0
#: Steps of the fit between two looks at whether to cancel.
_TURNS = 3


@dataclass(frozen=True)
class Setup:
    """One of the ways in which a scan can be the wrong way round.

    A mirror image of the frames is the same as a mirrored sample that turns the other way: every
    lattice has a centre of symmetry, so the spots alone cannot tell the two apart. The one
    difference is on which side of the middle the given detector centre lies.
    """

    reversed: bool
    mirrored: bool

    @property
    def turns_back(self) -> bool:
        """Whether unmirrored frames would turn the other way: what spots can tell."""
        return self.reversed != self.mirrored

    @property
    def words(self) -> str:
        """What it says of the scan."""
        parts = ["direction of rotation reversed"] * self.reversed
        parts += ["frames mirrored left to right"] * self.mirrored
        return " and ".join(parts) or "as given"

    def angles(self, omega_deg: np.ndarray) -> np.ndarray:
        """Angles at which unmirrored frames would be the same."""
        return np.asarray(omega_deg, float) * (-1 if self.turns_back else 1)

    def geometry(self, geometry: ScanGeometry) -> ScanGeometry:
        """Geometry with which unmirrored frames would be the same."""
        if not self.mirrored:
            return geometry
        row, col = geometry.center_px
        tx, ty, tz = geometry.detector_tilt_deg
        return replace(
            geometry, detector_center_px=(row, geometry.shape[1] - 1 - col),
            detector_tilt_deg=(-tx, ty, -tz),
        )  # fmt: skip


#: All ways round, the likeliest first.
SETUPS = (Setup(False, False), Setup(True, False), Setup(False, True), Setup(True, True))


def same_planes(first: Material, second: Material) -> bool:
    """Whether two crystals differ only in size: the same directions of planes."""
    a, b = np.array(first.cell), np.array(second.cell)
    if first.space_group != second.space_group or not np.allclose(a[3:], b[3:]):
        return False
    return bool(np.allclose(a[:3] / a[0], b[:3] / b[0], rtol=1e-3))


class Searching(Protocol):
    """How an attempt looks for grains; see `calibration.CalibrationSettings`."""

    @property
    def try_materials(self) -> bool: ...

    @property
    def reach_um(self) -> float | None: ...

    @property
    def grains(self) -> int: ...


class Calibrating(Protocol):
    """What an attempt reads of its job; see `calibration.GeometryCalibration`."""

    scan: Scan
    geometry: ScanGeometry
    images: SpotImages
    spots: SpotTable
    prior: np.ndarray
    grain_um: float

    @property
    def settings(self) -> Searching: ...

    def planes_of(self, crystal: Material) -> Planes: ...


class Attempt:
    """One way round and one material: what is found with it, and the fit."""

    def __init__(self, job: Calibrating, setup: Setup, material: Material) -> None:
        self.job, self.setup, self.material = job, setup, material
        self.planes = job.planes_of(material)
        self.table = PairTable(self.planes, material.symmetry, 0.5)
        self.omega_deg = setup.angles(np.asarray(job.scan.omega_deg))
        self.geometry = setup.geometry(job.geometry)
        self.given = as_vector(self.geometry)
        self.start = self.given.copy()
        self.candidates: list[tuple[float, Candidate]] = []
        self.chance = self.top = self.before_px = 0.0
        self.fitted: GeometryFit | None = None

    def nothing(self) -> ScanError:
        """What to say if no grain stands out from chance."""
        other = (
            "none of the known materials fits; give --material with a CIF file"
            if self.job.settings.try_materials
            else f"is it {self.material.name}? (--try-materials tries the known ones)"
        )
        return ScanError(
            f"No grain stands out from chance in '{self.job.scan.name}' (evidence {self.top:.1f}, "
            f"chance {self.chance:.1f}): the material or the geometry is wrong; {other}, and check "
            "distances, detector centre and the masks."
        )

    @property
    def words(self) -> str:
        return f"looking for grains: {self.material.name}, {self.setup.words}"

    @property
    def count(self) -> int:
        """Grains that stand out from chance."""
        return len(self.candidates)

    @property
    def clear(self) -> bool:
        """Whether so much was found that nothing else need be tried."""
        return self.strength >= 3 * (max(self.chance, 4.0) + _BEYOND_CHANCE)

    @property
    def strength(self) -> float:
        """Mean evidence of the best five candidates, those that are missing counting 0."""
        return sum(sorted((v for v, _ in self.candidates), reverse=True)[:5]) / 5

    @property
    def fit_found(self) -> GeometryFit:
        """The fit; `fit` must have been run."""
        assert self.fitted is not None
        return self.fitted

    @property
    def residual_px(self) -> float:
        return self.fitted.residual_px if self.fitted else float("nan")

    def look(self, threads: int) -> Iterator[None]:
        """Look for grains about the axis; if none is seen, with other detector centres, too."""
        across = self.job.prior[3]
        shifts = [0.0, 0.6, -0.6, 1.2, -1.2]
        for shift in shifts:
            self.start = self.given + np.eye(7)[3] * shift * across
            geometry = with_vector(self.geometry, self.start)
            images = self.job.images.seen_from(geometry, self.omega_deg)
            shuffled = images.shuffled(np.random.default_rng(0))
            found = yield from self._search(shuffled, 2, 12, threads)
            self.chance = max(self.chance, max((v for v, _ in found), default=0.0))
            found = yield from self._search(images, 2, 24, threads)
            self.top = max(self.top, max((v for v, _ in found), default=0.0))
            least = max(self.chance, 4.0) + _BEYOND_CHANCE
            self.candidates = [(v, c) for v, c in found if v >= least]
            if len(self.candidates) >= 2:
                return

    def _search(
        self, images: SpotImages, tolerance: int, seeds: int, threads: int, turn: int = 0
    ) -> Generator[None, None, list[tuple[float, Candidate]]]:
        """Candidates and their evidence at points about the axis; yields now and then."""
        n = len(images.omega_deg)
        stage = Stage("", 0, min(n, 24), 0.8, 5.0, 80, 0.15, 0, 0, 1, 0, 2)
        voter = Voter(images, self.planes, self.table, self.material, stage, tolerance=tolerance)
        covered = images.coverage(tolerance)
        found: list[tuple[float, Candidate]] = []
        points = self._seeds(seeds, turn)
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(points), threads):
                for some in pool.map(voter.candidates, points[first : first + threads]):
                    for c in some:
                        seen = list_at(images, self.planes, c.orientation, c.point_mm)
                        hits = int(seen.near(tolerance).sum())
                        found.append((evidence(hits, len(seen), covered), c))
                yield
        return found

    def _seeds(self, count: int, turn: int) -> np.ndarray:
        """Points (n, 3) in a cylinder about the axis, mm; wider every turn."""
        reach = self.job.settings.reach_um
        reach = reach if reach is not None else min(turn + 1.0, 4.0) * self.job.grain_um
        rng = np.random.default_rng(turn)
        angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
        height = rng.uniform(-1, 1, count)
        at = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
        return at * reach * 1e-3

    def fit(self, threads: int) -> Iterator[float]:
        """Fit the geometry in rounds: match, solve, look for more grains; yields the share done."""
        job = self.job
        half = 0.5 * spot_length_px(job.images.images)
        vector, within = self.start, 12.0 + half
        known: list[tuple[np.ndarray, np.ndarray]] = []
        for _, c in sorted(self.candidates, key=lambda x: -x[0]):
            self._remember(known, c)
        rounds = 4
        for turn in range(rounds):
            for step in range(4):
                yield (turn + step / 8) / rounds
                grains = self._match(vector, known[: job.settings.grains], within)
                if not grains:
                    raise self.nothing()
                self.fitted = fit_geometry(
                    vector, job.geometry.pixel_mm, grains, self.given, job.prior, _TURNS
                )
                vector = self.fitted.vector
                known = [(g.orientation, g.point_mm) for g in self.fitted.grains] + known[
                    job.settings.grains :
                ]
                within = max(2.0, min(0.8 * within, 4 * self.fitted.residual_px + 1))
            if turn == rounds - 1:
                break
            images = job.images.seen_from(with_vector(self.geometry, vector), self.omega_deg)
            tolerance = 2 if self.fit_found.residual_px > 1 else 1
            found = yield from self._numbered(
                self._search(images, tolerance, 12, threads, turn + 1), (turn + 0.5) / rounds
            )
            least = max(self.chance, 4.0) + _BEYOND_CHANCE
            for value, c in sorted(found, key=lambda x: -x[0]):
                if value >= least:
                    self._remember(known, c)
            within = max(within, 3.0 + half)  # the new ones are not where their spots' middles are
        still = fit_geometry(
            self.given, job.geometry.pixel_mm, self.fit_found.grains, self.given, job.prior * 1e-9
        )
        self.before_px = still.residual_px

    @staticmethod
    def _numbered(
        steps: Generator[None, None, list[tuple[float, Candidate]]], share: float
    ) -> Generator[float, None, list[tuple[float, Candidate]]]:
        """The same steps, each yielding a share done; gives back what they return."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            yield share

    def _remember(self, known: list[tuple[np.ndarray, np.ndarray]], c: Candidate) -> None:
        if known:
            have = np.array([u for u, _ in known])
            if misorientation_deg(c.orientation, have, self.material.symmetry).min() < _SAME_DEG:
                return
        known.append((c.orientation, c.point_mm))

    def _match(
        self, vector: np.ndarray, known: list[tuple[np.ndarray, np.ndarray]], within: float
    ) -> list[Observed]:
        """The grains with the spots next to where their reflections fall."""
        geometry = with_vector(self.geometry, vector)
        images = self.job.images.seen_from(geometry, self.omega_deg)
        laboratory = geometry.detector_axes
        out = []
        for u, point in known:
            seen = list_at(images, self.planes, u, point)
            turns = laboratory @ images.views.turns[seen.frames]
            grain = Observed(
                u, point, seen.vectors[:, GX : GZ + 1] @ u, turns, seen.frames,
                np.zeros((len(seen), 2)),
            )  # fmt: skip
            spots = self.job.spots.nearest(
                seen.frames, grain.places(vector, geometry.pixel_mm), within
            )
            grain = replace(grain, spots=spots).only(np.isfinite(spots[:, 0]))
            if len(grain.spots) >= _LEAST_SPOTS:
                out.append(grain)
        return out

    def completeness(self) -> float:
        """Share of the expected reflections that the best tenth of the grains show within 1 px;
        small ones show few."""
        geometry = with_vector(self.geometry, self.fit_found.vector)
        images = self.job.images.seen_from(geometry, self.omega_deg)
        shares = []
        for grain in self.fit_found.grains:
            seen = list_at(images, self.planes, grain.orientation, grain.point_mm)
            shares.append(float(seen.near(1).mean()) if len(seen) else 0.0)
        return float(np.quantile(shares, 0.9))
