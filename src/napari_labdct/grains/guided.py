"""The grains look at the spots again: with the grains known, the place of every spot is known.

Each grain of a map is projected as it lies (`simulation.projector`), which gives every reflection a
place, a shape and a brightness up to one factor of the scan. Then

- a predicted spot is believed if the projection holds the light it should, by its *evidence*: the
  log ratio of how well "there with its brightness" and "not there" explain the height of its own
  shape in the residual, all other predicted spots taken off. How often chance gives as much is
  measured with the same shapes at displaced places of the same projections;
- a component of the mask in which several of these lie is cut where their shapes meet;
- components that no grain explains are kept, those that stand out are listed, and those as faint
  as chance makes them are dropped if so many cannot be real.

A geometry that does not fit is noticed by the bright spots, which are not where they should be;
then the mask is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from scipy import ndimage as ndi

from ..background.drift import source_drift
from ..background.noise import block_median, noise_map
from ..core.errors import ScanError
from ..core.jobs import FrameJob, Output, Progress
from ..core.parameters import Param, Settings
from ..core.recipes import recipe
from ..core.stacks import FrameStack
from ..crystal import GrainMap, Material
from ..scan.scan import Scan
from ..simulation.projector import Projector
from ..simulation.source import Beam
from ..spots.label_levels import CORE_LEVEL, LABEL_LEVEL
from ..spots.measurement import FrameMeasurer, label_image
from ..spots.significance import significance
from .checks import grain_inputs
from .templates import Predicted, fit_brightness, heights

__all__ = ["GUIDED_DTYPE", "LEFTOVER_DTYPE", "GuidedSpots", "RefineSettings"]

#: Where a refined spot comes from.
MASK, CUT, ADDED, UNEXPLAINED = range(4)
GUIDED_DTYPE = np.dtype(
    [
        ("frame", "i4"), ("id", "i4"), ("grain", "i4"), ("h", "i2"), ("k", "i2"), ("l", "i2"),
        ("row", "f4"), ("col", "f4"), ("area_px", "i4"), ("energy_kev", "f4"),
        ("expected_height", "f4"), ("height", "f4"), ("evidence", "f4"), ("origin", "u1"),
    ]
)  # fmt: skip
LEFTOVER_DTYPE = np.dtype(
    [("frame", "i4"), ("id", "i4"), ("row", "f4"), ("col", "f4"), ("area_px", "i4"),
     ("significance", "f4")]
)  # fmt: skip

#: Predicted spots fainter than this (matched-filter height, sigma) are not looked for.
FAINTEST = 2.5
#: Bright enough that nobody overlooks it.
BRIGHT = 10.0
#: Bright spots that must be seen at their places, beyond what chance gives.
_SEEN = 0.5
#: Unexplained components above it are listed.
STRONG = 7.0
_SURVEYED = 16
_DISPLACED = 3
#: What one reflection can say for or against its grain.
_MOST = 4.0
_EDGES = np.array([0, 4, 5, 6, 8, 12, np.inf])


@dataclass(frozen=True, kw_only=True)
class RefineSettings(Settings):
    """How the grains guide the segmentation."""

    job: ClassVar[str] = "refine"

    false_rate: Annotated[
        float,
        Param(
            "False rate", "", 0.0001, 0.5, 0.01,
            "Share of the spots found by their grain that may be false, as measured at displaced "
            "places.",
        ),
    ] = 0.01  # fmt: skip
    families: Annotated[
        int, Param("Reflection families", "", 1, 20, 1, "The first N allowed {hkl}.")
    ] = 4
    energy_min_kev: Annotated[
        float, Param("Lowest energy", "keV", 5, 150, 1, "The highest is the tube voltage.")
    ] = 13.0
    psf_px: Annotated[
        float, Param("Point spread", "px", 0, 20, 0.1, "Gaussian SD of the detector.")
    ] = 0.9


@dataclass(frozen=True, eq=False)
class Level:
    """What the survey of a scan tells.

    Attributes
    ----------
    scale : float
        Counts over predicted grey levels.
    error : float
        Relative error of predicted brightness.
    of_grain : ndarray (n,)
        Brightness of each grain over the predicted one.
    seen, by_chance : float
        Share of the bright predicted spots that lie on a component, and of displaced ones.
    threshold : float
        Evidence from which a spot is believed.
    false_rate : float
        Measured share of false ones among those.
    kept : ndarray of bool
        Bins of significance in which components without a grain are kept.
    real : ndarray of bool (n,)
        Grains whose reflections, all together, speak for them; the others explain nothing.
    """

    scale: float
    error: float
    of_grain: np.ndarray
    seen: float = 0.0
    by_chance: float = 0.0
    threshold: float = np.inf
    false_rate: float = 0.0
    kept: np.ndarray = field(default_factory=lambda: np.ones(len(_EDGES) - 1, bool))
    real: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


#: What is found in a projection of the survey: the predicted spots, their evidence, whether each
#: is seen, displaced ones with their evidence, the components, and the significance of these.
_Found = tuple[
    Predicted, np.ndarray, np.ndarray, list[tuple[Predicted, np.ndarray]], np.ndarray, np.ndarray
]


def _bin_of(strength: np.ndarray) -> np.ndarray:
    """Bins of `_EDGES` in which significances (n,) lie; those below 0 count as 0."""
    return np.clip(np.digitize(strength, _EDGES) - 1, 0, len(_EDGES) - 2)


class GuidedSpots(FrameJob):
    """Spots of a scan as its grains explain them: label images, and a table with grain and hkl.

    Parameters
    ----------
    scan : Scan
        With complete geometry.
    spots : stack (n, rows, cols)
        The mask to begin with.
    grains : GrainMap
    settings : RefineSettings
    material : Material or str, optional
        The scan's if not given.
    made_of : dict, optional
        Hashes of mask and map, for the recipe.

    Attributes
    ----------
    note : str
        After `survey`: what it tells.
    level : Level or None
    """

    name = "refine"
    suffix = "_refined"
    scan: Scan
    settings: RefineSettings

    def __init__(
        self, scan: Scan, spots: FrameStack, grains: GrainMap,
        settings: RefineSettings | None = None, material: Material | str | None = None,
        made_of: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.scan, self.spots, self.grains = scan, spots, grains
        self.settings, self.made_of = settings or RefineSettings(), made_of or {}
        self.material, geometry = grain_inputs(scan, material, "A guided segmentation")
        wanted, has = (scan.n_frames, *scan.shape), tuple(spots.shape)
        if wanted != has:
            raise ScanError(f"The spots have shape {has}, the scan {wanted}; give its own mask.")
        known_kv = scan.description.tube_kv
        assert known_kv is not None  # `grain_inputs` refuses a scan without it
        tube_kv = float(known_kv)
        beam = Beam.laue(
            tube_kv=tube_kv, power_w=10.0, distance_mm=geometry.source_sample_mm, exposure_s=600.0,
            filters_mm={"Al": 2.0}, energy_min_kev=self.settings.energy_min_kev,
        )  # fmt: skip
        self.projector = Projector(
            grains, self.material, geometry, beam, families=self.settings.families,
            psf_px=self.settings.psf_px, threads=1,
        )  # fmt: skip
        self._row = np.zeros(int(grains.grain_ids.max()) + 1, int)
        self._row[grains.grain_ids] = np.arange(grains.n_grains)
        self._measurer = FrameMeasurer(scan)
        self._hidden = scan.hidden()
        self.level: Level | None = None
        self.tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def output(self) -> Output:
        return Output((self.scan.n_frames, *self.scan.shape), np.uint16)

    def recipe(self) -> dict[str, Any]:
        described = {k: v for k, v in self.scan.description.to_dict().items() if v is not None}
        return recipe(self.name, self.settings, self.scan, geometry=described, **self.made_of)

    # ---------------------------------------------------------------- one projection

    def in_noise(self, index: int, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The projection less its background over the local noise, and that noise, counts."""
        frame = np.asarray(self.scan.frame(index), np.float32)
        outside = ~mask
        median = self._measurer.background(index)
        if median is None:
            above = frame - block_median(frame, outside)
            noise = noise_map(frame, frame - above)
        else:
            ground = median * np.float32(source_drift(frame, median, outside))
            above, noise = frame - ground, noise_map(frame, ground)
        above -= block_median(above, outside)
        above /= noise
        above[self._hidden] = 0
        return above, noise

    def predicted(self, index: int, noise: np.ndarray, scale: float) -> Predicted:
        """Spots of all grains in noise sigmas; those that nobody could see are left out."""
        omega_deg = self.scan.omega_deg
        assert omega_deg is not None  # `grain_inputs` refuses a scan without them
        table, images = self.projector.project_apart(float(omega_deg[index]), index)
        return Predicted.of(table, images, noise, scale)

    # ---------------------------------------------------------------- the whole scan

    def survey(self) -> Iterator[Progress]:
        """Learn brightness, chance and threshold from some projections spread over the scan."""
        if self.level is not None:
            return
        n = self.scan.n_frames
        chosen = np.unique(np.linspace(0, n - 1, min(n, _SURVEYED)).round().astype(int))
        total = 2 * len(chosen)
        first = []
        for done, index in enumerate(chosen, 1):
            mask = label_image(self.spots[index]) > 0
            z, noise = self.in_noise(index, mask)
            spots = self.predicted(index, noise, 1.0)
            first.append(_brightness(spots, z, mask))
            yield Progress(done, total)
        level = self._scaled(first)
        if level is None:
            self._give_up(0.0, 0.0)
            return
        rng = np.random.default_rng(0)
        found = []
        for done, index in enumerate(chosen, len(chosen) + 1):
            found.append(self._weighed(index, level, rng))
            yield Progress(done, total)
        self._decide(level, found)

    def _scaled(self, first: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Level | None:
        grain, ratio, height = (np.concatenate(parts) for parts in zip(*first))
        if len(ratio) < 20:
            return None
        # The brightest tell most; in units of the prediction their noise is small.
        bright = height >= np.quantile(height, 0.5)
        scale = float(np.median(ratio[bright]))
        if not scale > 0:
            return None
        off = np.log(np.maximum(ratio[bright] / scale, 1e-3))
        error = float(np.clip(1.4826 * np.median(np.abs(off)), 0.1, 0.6))
        of_grain = np.ones(self.grains.n_grains)
        rows = self._row[grain]
        for row in np.unique(rows[bright]):
            own = ratio[bright & (rows == row)] / scale
            if len(own) >= 5:
                of_grain[row] = np.clip(np.median(own), 0.3, 3.0)
        return Level(scale, error, of_grain)

    def _weighed(self, index: int, level: Level, rng: np.random.Generator) -> _Found:
        """Evidence here and displaced, who is seen, and components with and without a grain."""
        components = label_image(self.spots[index])
        z, noise = self.in_noise(index, components > 0)
        spots = self._bright(index, noise, level)
        model, bright = fit_brightness(spots, z, level.error)
        here = self._evidence(spots, z, model, bright, level)
        away = []
        shape = np.array(z.shape)
        for _ in range(_DISPLACED):
            turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(15, 40)
            shift = np.round(far * np.array([np.sin(turn), np.cos(turn)])).astype(int)
            moved = spots.moved(shift, shape)
            away.append((moved, self._evidence(moved, z, model, np.zeros(len(moved)), level)))
        seen = spots.on(components > 0)
        strength = significance(z, components, enough=20.0)
        return spots, here, seen, away, components, strength

    def _bright(self, index: int, noise: np.ndarray, level: Level) -> Predicted:
        spots = self.predicted(index, noise, level.scale)
        rows = self._row[spots.table["grain"]]
        spots = spots.times(level.of_grain[rows])
        real = level.real[rows] if len(level.real) else np.ones(len(spots), bool)
        return spots.only((spots.norm >= FAINTEST) & real)

    def _evidence(
        self, spots: Predicted, z: np.ndarray, model: np.ndarray, bright: np.ndarray, level: Level
    ) -> np.ndarray:
        """(n, 3): expected height, height, and the log ratio of there and not there."""
        expected, height = heights(spots, z, model, bright, level.error)
        variance = 1 + (level.error * expected) ** 2
        ratio = 0.5 * (height**2 - (height - expected) ** 2 / variance - np.log(variance))
        # Far brighter than predicted is no evidence against a spot.
        ratio = np.where(height > expected, np.maximum(ratio, 0.5 * expected**2), ratio)
        return np.stack([expected, height, ratio], axis=1)

    def _decide(self, level: Level, found: list[_Found]) -> None:
        # Evidence of a grain is that of its reflections together, none of which decides alone.
        real = np.zeros(self.grains.n_grains)
        for spots, evidence, *_ in found:
            at = self._row[spots.table["grain"]]
            np.add.at(real, at, np.clip(evidence[:, 2], -_MOST, _MOST))
        real = real >= 0
        found = [_of_real(f, real[self._row[f[0].table["grain"]]]) for f in found]
        here = np.concatenate([f[1] for f in found])
        away = np.concatenate([e for f in found for _, e in f[3]])
        seen = np.concatenate([f[2] for f in found])[here[:, 0] >= BRIGHT]
        chance = [m.on(f[4] > 0)[e[:, 0] >= BRIGHT] for f in found for m, e in f[3]]
        by_chance = np.concatenate(chance)
        if len(seen) < 20 or len(by_chance) == 0:
            self._give_up(0.0, 0.0)
            return
        shares = float(seen.mean()), float(by_chance.mean())
        if shares[0] - shares[1] < _SEEN:
            self._give_up(*shares)
            return
        threshold, false = _threshold(here[:, 2], away[:, 2], self.settings.false_rate)
        self.level = Level(
            level.scale, level.error, level.of_grain, *shares, threshold, false,
            self._kept_bins(found, threshold), real,
        )  # fmt: skip
        self.note = (
            f"{shares[0]:.0%} of the bright predicted spots are seen, {shares[1]:.0%} by chance; "
            f"{false:.1%} of those that are found by their grain are false by what displaced "
            "places give."
        )
        if not real.all():
            self.note += f" {int((~real).sum())} grains are not seen and explain nothing."

    def _kept_bins(self, found: list[_Found], threshold: float) -> np.ndarray:
        """Bins of significance in which a component without a grain is more likely real.

        Real ones without a grain are about as many, over those with one, as among bright
        components; twice as many are allowed for, since small grains are missed more often.
        """
        with_grain = np.zeros(len(_EDGES) - 1)
        without = np.zeros(len(_EDGES) - 1)
        for spots, evidence, _, _, components, strength in found:
            known = np.zeros(len(strength) + 1, bool)
            for k in np.flatnonzero(evidence[:, 2] >= threshold).tolist():
                known[components[spots.pixels(k, LABEL_LEVEL)]] = True
            which = _bin_of(strength)
            with_grain += np.bincount(which[known[1:]], minlength=len(with_grain))
            without += np.bincount(which[~known[1:]], minlength=len(without))
        share = without[-1] / max(with_grain[-1] + without[-1], 1)
        real = 2 * with_grain * (share + 0.005) / max(1 - share, 0.05)
        kept = real >= 0.5 * without
        kept[-1] = True
        return kept

    def _give_up(self, seen: float, by_chance: float) -> None:
        self.level = Level(0.0, 0.0, np.zeros(0), seen, by_chance)
        self.note = (
            f"{seen:.0%} of the bright predicted spots are seen, {by_chance:.0%} by chance. That "
            "is too few for these grains in this geometry, and the mask is left as it is: check "
            "the geometry ('labdct calibrate') and that the map belongs to this scan."
        )

    # ---------------------------------------------------------------- the result

    def frame(self, index: int) -> np.ndarray:
        """Labels of one projection, uint16; its table is in `tables` then."""
        if self.level is None:
            for _ in self.survey():
                pass
        level = self.level
        assert level is not None  # a survey that came to its end has set it
        components = label_image(self.spots[index])
        components[self._hidden] = 0
        if not level.scale:
            self.tables[index] = np.zeros(0, GUIDED_DTYPE), np.zeros(0, LEFTOVER_DTYPE)
            return components.astype(np.uint16)
        z, noise = self.in_noise(index, components > 0)
        spots = self._bright(index, noise, level)
        model, bright = fit_brightness(spots, z, level.error)
        evidence = self._evidence(spots, z, model, bright, level)
        believed = evidence[:, 2] >= level.threshold
        spots = spots.only(believed).times(bright[believed])
        labels, rows = self._cut(index, components, spots, evidence[believed])
        labels, rows, left = self._leftovers(index, labels, rows, components, z, level)
        self.tables[index] = rows, left
        return labels.astype(np.uint16)

    def _cut(
        self, index: int, components: np.ndarray, spots: Predicted, evidence: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the believed spots: parts of components, or their predicted pixels."""
        owner, bright = np.zeros(components.shape, np.int32), np.zeros(components.shape, np.float32)
        peaks = spots.peak
        for k in np.argsort(peaks):
            level = max(LABEL_LEVEL, min(1 / max(peaks[k], 1e-6), CORE_LEVEL))
            at = spots.pixels(k, level)
            value = spots.values(k, at)
            wins = value > bright[at]
            at = tuple(axis[wins] for axis in at)
            owner[at], bright[at] = k + 1, value[wins]
        owner[self._hidden] = 0
        labels = owner.copy()
        origin = np.full(len(spots) + 1, ADDED, np.uint8)
        shared = (owner > 0) & (components > 0)
        pairs = np.unique(
            np.stack([components[shared], owner[shared]], axis=1), axis=0
        )  # fmt: skip
        count = np.bincount(pairs[:, 0], minlength=int(components.max()) + 1)
        origin[pairs[:, 1]] = np.where(count[pairs[:, 0]] > 1, CUT, MASK)
        explained = count[components] > 0
        # what is left of a component goes to the nearest of its own spots
        near = ndi.distance_transform_edt(
            ~shared, return_distances=False, return_indices=True
        )  # fmt: skip
        rest = explained & (owner == 0)
        labels[rest] = owner[tuple(axis[rest] for axis in near)]
        # a spot that the mask has keeps the mask's shape
        beyond = (components == 0) & (origin[labels] != ADDED)
        labels[beyond] = 0
        rows = np.zeros(len(spots), GUIDED_DTYPE)
        for name in ("grain", "h", "k", "l", "row", "col", "energy_kev"):
            rows[name] = spots.table[name]
        rows["frame"], rows["id"] = index, np.arange(1, len(spots) + 1)
        rows["expected_height"], rows["height"], rows["evidence"] = evidence.T
        rows["origin"] = origin[1:]
        return labels, rows

    def _leftovers(
        self, index: int, labels: np.ndarray, rows: np.ndarray, components: np.ndarray,
        z: np.ndarray, level: Level,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """Components without a grain: kept, dropped or listed; numbers without gaps."""
        known = np.zeros(int(components.max()) + 1, bool)
        known[components[labels > 0]] = True
        strength = significance(z, components, enough=20.0)
        keep = np.zeros(len(known), bool)
        keep[1:] = level.kept[_bin_of(strength)] & ~known[1:]
        number = np.zeros(len(known), np.int32)
        number[keep] = len(rows) + np.arange(1, int(keep.sum()) + 1)
        alone = keep[components] & (labels == 0)
        labels[alone] = number[components[alone]]
        area = np.bincount(labels.ravel(), minlength=len(rows) + int(keep.sum()) + 1)
        there = area > 0
        there[0] = False
        new = np.zeros(len(area), np.int32)
        new[there] = np.arange(1, int(there.sum()) + 1)
        grid = np.indices(labels.shape)
        sums = [np.bincount(labels.ravel(), axis.ravel(), len(area)) for axis in grid]
        made = np.zeros(len(area) - 1, GUIDED_DTYPE)
        made[: len(rows)] = rows
        made["frame"], made["id"], made["area_px"] = index, new[1:], area[1:]
        made["row"], made["col"] = (s[1:] / np.maximum(area[1:], 1) for s in sums)
        made["origin"][len(rows) :] = UNEXPLAINED
        left = np.zeros(int(keep.sum()), LEFTOVER_DTYPE)
        for name in ("frame", "id", "row", "col", "area_px"):
            left[name] = made[name][len(rows) :]
        left["significance"] = strength[np.flatnonzero(keep) - 1]
        return new[labels], made[there[1:]], left[left["significance"] >= STRONG]

    def table(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Spots (`GUIDED_DTYPE`) and leftovers (`LEFTOVER_DTYPE`) of one projection."""
        if index not in self.tables:
            self.frame(index)
        return self.tables[index]


def _brightness(
    spots: Predicted, z: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grain, observed over predicted brightness and height of spots that are seen in the mask."""
    norm = spots.norm
    seen = spots.on(mask) & (norm > 0)
    chosen = np.flatnonzero(seen)
    ratio = np.array([spots.dot(k, z) / norm[k] ** 2 for k in chosen.tolist()])
    return spots.table["grain"][chosen], ratio, ratio * norm[chosen]


def _of_real(found: _Found, real: np.ndarray) -> _Found:
    """What was found of a projection, without the spots of grains that are not seen."""
    spots, here, seen, away, components, strength = found
    return spots.only(real), here[real], seen[real], away, components, strength


def _threshold(here: np.ndarray, away: np.ndarray, most: float) -> tuple[float, float]:
    """Least evidence with at most so many false among those above it, and how many there are.

    What chance gives is the share of displaced places above it, times the spots that are predicted
    but not there: those that hardly ever reach what nearly all real ones do.
    """
    low = np.quantile(away, 0.9)
    absent = float(np.clip((here < low).mean() / max((away < low).mean(), 0.1), 0.002, 1.0))
    best = (float(np.max(away)), 0.0)
    for value in np.arange(-3.0, 12.0, 0.25):
        false = absent * (away >= value).mean() / max((here >= value).mean(), 1e-6)
        if false <= most:
            return float(value), float(false)
    return best
