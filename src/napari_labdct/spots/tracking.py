"""Spots that go on: a weak spot is believed if the projections before and after have it too.

The beam is white, so a reflection does not flash up and vanish as the sample turns: it goes on
over the detector with other wavelengths, along a path that the geometry tells.  The network
looks at one projection at a time; here its output learns from two projections on either side.

How much it is worth to be there again is measured on the scan itself.  Sure spots say in how
many of its neighbours a true spot is seen, and how near to the path; places beside the path say
how often chance puts something there.  The ratio of the two multiplies the odds that the network
gave (Bayes' rule).  If the geometry is wrong, or the steps too wide, both are alike and nothing
changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from ..core.errors import ScanError, SettingsError
from ..core.jobs import DENOISED, FrameJob, Output, Progress
from ..core.parameters import Param, Settings
from ..core.recipes import recipe, recipe_beside, recipe_hash
from ..core.stacks import FrameStack
from ..io.opening import open_scan
from ..scan.geometry import ScanGeometry
from ..scan.scan import Scan
from .components import label_eight
from .stacks import check_stack

#: Network result from which a spot is sure enough to tell how true spots go on.
SURE = 240
#: Projections on either side that are looked at.
REACH = 2
#: A grain off the axes shifts the path of its spots; shifts are told apart by rings of these
#: radii, in pixels, and larger ones than the last are not looked for.
RINGS_PX = (2.0, 4.0, 8.0, 16.0)
#: How near to its place, on the path shifted so, a spot is the same one; more at two steps.
NEAR_PX = {1: 2.0, 2: 3.0}
#: What "by chance" means: the same search beside the path, (rows, cols) in pixels.
_BESIDE_PX = ((19, -23), (-23, -19), (-19, 23), (23, 19))
#: Of a spot that gains, only pixels above this part of its peak may reach the full output: its
#: faint surroundings gain as it does, but are no spot.
_FULL_LEVEL = 0.5
#: As many spots that behave as by chance are mixed into the sure ones, for small scans.
_DOUBT = 100

_CANDIDATE = np.dtype([("row", "f4"), ("col", "f4"), ("peak", "u1")])


@dataclass(frozen=True, kw_only=True)
class TrackSettings(Settings):
    """How spots are followed from projection to projection."""

    job: ClassVar[str] = "track"

    partner_threshold: Annotated[
        int | None,
        Param(
            "Partner threshold",
            "of 255",
            2,
            SURE,
            1,
            "Network result from which a spot of a neighbouring projection confirms one of this; "
            "the threshold of the model that cleaned the scan if not given.",
            advanced=True,
        ),
    ] = None
    faintest: Annotated[
        int,
        Param(
            "Faintest candidate",
            "of 255",
            1,
            SURE,
            1,
            "Fainter output stays as it is, whatever the neighbours say.",
            advanced=True,
        ),
    ] = 2


def candidates(
    cleaned: np.ndarray, threshold: int, faintest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What could be a spot in one cleaned projection.

    Parameters
    ----------
    cleaned : uint8 array (rows, cols)
    threshold, faintest : int
        Components at `threshold` are spots, those at `faintest` candidates.

    Returns
    -------
    labels : int32 array (rows, cols)
        A component at `faintest` that holds at most one spot, and no sure one, has a label of its
        own.  In the others every spot has one, and ``-n`` stands in what surrounds them.
    around : int array (m,)
        The ``n`` round the spots with the labels 1 to m; all other labels come after.
    table : structured array of row, col (weighted centres), peak
        ``table[k - 1]`` tells of label ``k``.
    """
    cleaned = np.asarray(cleaned)
    faint, n_faint = label_eight(cleaned >= faintest)
    bright, n_bright = label_eight(cleaned >= threshold)
    flat = np.flatnonzero(faint)
    of_faint, of_bright, value = (image.ravel()[flat] for image in (faint, bright, cleaned))
    around = np.zeros(n_bright + 1, int)
    around[of_bright] = of_faint
    whole = np.bincount(around[1:], minlength=n_faint + 1) <= 1
    whole[of_faint[value >= SURE]] = False
    whole[0] = False
    part = ~whole[around]
    part[0] = False
    n_parts = int(part.sum())
    of_part = np.cumsum(part) * part
    of_whole = np.where(whole, np.cumsum(whole) + n_parts, -np.arange(n_faint + 1))
    label = np.where(of_part[of_bright] > 0, of_part[of_bright], of_whole[of_faint])
    labels = np.zeros(cleaned.shape, np.int32)
    labels.ravel()[flat] = label
    flat, value, label = flat[label > 0], value[label > 0], label[label > 0]
    table = np.zeros(n_parts + int(whole.sum()), _CANDIDATE)
    np.maximum.at(table["peak"], label - 1, value)
    weight = np.bincount(label, value, len(table) + 1)[1:]
    rows, cols = np.divmod(flat, cleaned.shape[1])
    table["row"] = np.bincount(label, value * rows, len(table) + 1)[1:] / weight
    table["col"] = np.bincount(label, value * cols, len(table) + 1)[1:] / weight
    return labels, around[part], table


class _Path:
    """Where the spots of a projection should be in a neighbour, and what is there.

    Parameters
    ----------
    places : array (n, 2)
        Spots and candidates, (row, col).
    spots : bool array (n,)
        Which of them are spots.
    partners : array (m, 2)
        The spots of the neighbour; each belongs to the spot whose place is nearest to it.
    geometry : ScanGeometry
    turn_deg : float
        From the projection to its neighbour.
    beside : (rows, cols)
        Look so far from the path, to see what chance does.
    mask : bool array (rows, cols), optional
        Where nothing is seen.
    """

    def __init__(
        self,
        places: np.ndarray,
        spots: np.ndarray,
        partners: np.ndarray,
        geometry: ScanGeometry,
        turn_deg: float,
        beside: tuple[float, float],
        mask: np.ndarray | None = None,
    ) -> None:
        from scipy.spatial import cKDTree

        path = geometry.turn_spots(places, turn_deg)
        owners = path[spots & np.isfinite(path[:, 0])]
        path = path + beside
        last = np.array(geometry.shape) - 1
        self.seen = np.all((path >= 0) & (path <= last), axis=1)  # not where it is NaN
        if mask is not None:
            row, col = np.where(self.seen[:, None], path, 0).round().astype(int).T
            self.seen &= ~mask[row, col]
        self.path = np.where(self.seen[:, None], path, -1e6)
        self.partners = partners
        self.tree = cKDTree(partners) if len(partners) else None
        self.claim = np.full(len(partners), np.inf)
        if len(partners) and len(owners):
            self.claim = cKDTree(owners).query(partners)[0] + 1e-6

    def shifts(self, most: int = 3) -> np.ndarray:
        """Shifts (n, most, 2) that put one of the nearest partners on the path; NaN if none."""
        shift = np.full((len(self.path), most, 2), np.nan)
        if self.tree and len(self.path):
            reach = RINGS_PX[-1]
            near, which = self.tree.query(self.path, [*range(1, most + 1)], 0, 2, reach)
            found = np.isfinite(near)
            found[found] = near[found] <= self.claim[which[found]]
            shift[found] = self.partners[which[found]] - self.path[np.nonzero(found)[0]]
        return shift

    def has(self, shift: np.ndarray, near_px: float) -> np.ndarray:
        """Whether a partner is `near_px` to the path with each shift (n, k, 2), bool (n, k)."""
        there = np.zeros(shift.shape[:2], bool)
        if self.tree:
            asked = np.isfinite(shift[..., 0]) & self.seen[:, None]
            row = np.nonzero(asked)[0]
            distance, which = self.tree.query(self.path[row] + shift[asked])
            away = np.hypot(*(self.partners[which] - self.path[row]).T)
            there[asked] = (distance < near_px) & (away <= self.claim[which])
        return there


class Tracker(FrameJob):
    """The cleaned projections of a scan, made surer by their neighbours.

    Parameters
    ----------
    scan : Scan
        With angles and geometry.
    cleaned : uint8 stack (n, rows, cols)
        The whole network output of `denoising`, at any size.
    settings : TrackSettings
    made : dict, optional
        The recipe of `cleaned`; that of a `FrameStore` is known.

    Attributes
    ----------
    note : str
        After `survey`: how many sure spots go on where the geometry says, and how many by chance.

    Raises
    ------
    ScanError
        Angles or distances are not known, or the cleaned stack is not whole, of another scan or
        tracked already.
    SettingsError
        The faintest candidate is no fainter than a partner.
    """

    name = "track"
    settings_type = TrackSettings
    needs = (DENOISED,)
    makes = DENOISED
    scan: Scan
    settings: TrackSettings

    def __init__(
        self,
        scan: Scan,
        cleaned: FrameStack,
        settings: TrackSettings | None = None,
        made: dict[str, Any] | None = None,
    ) -> None:
        self.scan, self.cleaned = scan, cleaned
        self.settings = settings or TrackSettings()
        self.made = made if made is not None else getattr(cleaned, "recipe", {})
        if len(cleaned.shape) != 3 or cleaned.shape[0] != scan.n_frames:
            raise ScanError(
                f"The network result has shape {tuple(cleaned.shape)}, but the scan has "
                f"{scan.n_frames} projections; choose the network result of this scan."
            )
        if np.dtype(cleaned.dtype) != np.uint8:
            raise ScanError(
                f"The network result holds {np.dtype(cleaned.dtype)} values, not 0 to 255; "
                "denoise the scan first."
            )
        made_of = self.made.get("input", {}).get("id")
        if made_of and made_of != scan.identity():
            raise ScanError(
                f"The network result was made of another scan than '{scan.name}'; choose the scan "
                "it was made of, or denoise this one."
            )
        if self.made.get("job") == self.settings.job:
            raise ScanError(
                "The spots of this stack were tracked already; choose the network's own output."
            )
        if not np.all(getattr(cleaned, "done", True)):
            raise ScanError(
                "Spots are followed through the whole scan; denoise the whole stack first."
            )
        if scan.omega_deg is None:
            raise ScanError(
                f"The rotation angles of '{scan.name}' are not known; enter them in scan.yaml or "
                "in the Scan dock."
            )
        self.geometry, self._omega_deg = scan.geometry(), scan.omega_deg
        self._scale = np.array(scan.shape) / cleaned.shape[1:]  # scan pixels in a cleaned one
        self.threshold = self.settings.partner_threshold or int(
            self.made.get("model", {}).get("threshold", 128)
        )
        if self.settings.faintest >= self.threshold:
            raise SettingsError("The faintest candidate must lie below the partner threshold.")
        self.note = ""
        self._mask = scan.detector_mask
        self._tables: dict[int, np.ndarray] = {}
        self._log_ratio: np.ndarray | None = None

    @classmethod
    def _of(cls, scan: Scan, settings: TrackSettings, files: Mapping[str, Path]) -> Self:
        denoised = files[DENOISED]
        made = recipe_beside(denoised)
        stack = open_scan(denoised).frames
        if made.get("input", {}).get("id") in (None, scan.identity()):  # else said in a moment
            check_stack(denoised, stack, scan, DENOISED, coarse=True)
        return cls(scan, stack, settings, made)

    # ---------------------------------------------------------------- what is there

    def survey(self) -> Iterator[Progress]:
        """Look for the spots of all projections, then weigh how they go on; two steps for each.

        A projection leaves some 10 to 30 kB in memory, a list of its spots and candidates.

        Raises
        ------
        ScanError
            The spots go on as if the sample turned the other way.
        """
        if self._log_ratio is not None:  # done before
            return
        count = self.scan.n_frames
        for index in range(count):
            if index not in self._tables:
                self._tables[index] = self._candidates(index)[2]
            yield Progress(index + 1, 2 * count, "" if index else "Looking for spots.")
        sure = chance = opposite = np.zeros((2 * REACH + 1, 2 * REACH + 1, len(RINGS_PX)))
        for index in range(count):
            sure = sure + self._count(index, SURE)
            opposite = opposite + self._count(index, SURE, direction=-1)
            for beside in _BESIDE_PX:
                chance = chance + self._count(index, beside=beside)
            yield Progress(count + index + 1, 2 * count)
        here, by_chance, turned = (_share(counts) for counts in (sure, chance, opposite))
        self.note = (
            f"{here:.0%} of the sure spots go on where the geometry says, {by_chance:.0%} by "
            "chance."
        )
        if turned > 2 * max(here, by_chance):
            raise ScanError(
                f"{self.note} With the opposite direction of rotation it would be {turned:.0%}: "
                "change the sign of the rotation step in the Scan dock or in scan.yaml (images "
                "mirrored left to right look like this, too)."
            )
        if here <= 2 * by_chance:
            self.note += (
                " That tells nothing, and nothing is changed: check the rotation step and the "
                "distances in the Scan dock, or the steps are too wide."
            )
            sure = np.zeros_like(sure)
        self._log_ratio = _log_ratio(sure, chance)

    def _candidates(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = self.settings.faintest
        return candidates(self._measured(index), self.threshold, at)

    def _measured(self, index: int) -> np.ndarray:
        """A cleaned projection without what stands in the detector mask."""
        cleaned = np.asarray(self.cleaned[index])
        if self._mask is None or cleaned.shape != self._mask.shape:
            return cleaned
        return np.where(self._mask, np.uint8(0), cleaned)

    def _neighbours(self, index: int) -> dict[int, int]:
        """Projections at -2 ... 2 steps that exist; a scan of a full turn has no ends."""
        count = self.scan.unique_frames
        found: dict[int, int] = {}
        for steps in (-1, 1, *(sign * n for n in range(2, REACH + 1) for sign in (-1, 1))):
            other = index + steps
            if self.scan.circular:
                other %= count
            if 0 <= other < self.scan.n_frames and other not in (index, *found.values()):
                found[steps] = other
        return found

    def _places(self, index: int) -> np.ndarray:
        """Row and column in the projection of everything that could be a spot, (n, 2)."""
        table = self._tables[index]
        return (np.stack([table["row"], table["col"]], 1) + 0.5) * self._scale - 0.5

    def _spots(self, index: int) -> np.ndarray:
        """Which of them are spots, bool (n,)."""
        return self._tables[index]["peak"] >= self.threshold

    def _follow(
        self, index: int, beside: tuple[float, float] = (0, 0), direction: int = 1
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Look for every spot and candidate of a projection in its neighbours.

        Returns
        -------
        looked : int array (n,)
            Neighbours on whose detector it would be.
        there : int array (n,)
            How many of them have it, all by one and the same shift of the path.
        ring : int array (n,)
            In which of `RINGS_PX` that shift lies.
        """
        places = self._places(index)
        paths = {}
        for steps, other in self._neighbours(index).items():
            turn = direction * (self._omega_deg[other] - self._omega_deg[index])
            partners = self._places(other)[self._spots(other)]
            where = (self.geometry, turn, beside, self._mask)
            paths[steps] = _Path(places, self._spots(index), partners, *where)
        shifts = [np.zeros((len(places), 1, 2))]
        shifts += [path.shifts() * steps for steps, path in paths.items() if abs(steps) == 1]
        shift = np.concatenate(shifts, axis=1)
        looked = sum((path.seen.astype(int) for path in paths.values()), np.zeros(len(places), int))
        there = np.zeros(shift.shape[:2], int)
        for steps, path in paths.items():
            there += path.has(shift * steps, NEAR_PX[abs(steps)])
        ring = np.digitize(np.hypot(shift[..., 0], shift[..., 1]), RINGS_PX[:-1])
        ring[there == 0] = 0
        best = np.argmax(there * len(RINGS_PX) - ring, axis=1)
        row = np.arange(len(places))
        return looked, there[row, best], ring[row, best]

    def _count(self, index: int, peak: int = 0, **how: Any) -> np.ndarray:
        """How many of what reaches `peak` were looked for, found, and with what shift."""
        wanted = self._tables[index]["peak"] >= peak
        counts = np.zeros((2 * REACH + 1, 2 * REACH + 1, len(RINGS_PX)))
        np.add.at(counts, tuple(n[wanted] for n in self._follow(index, **how)), 1)
        return counts

    # -------------------------------------------------------------------- the result

    def frame(self, index: int) -> np.ndarray:
        """Cleaned projection `index` with what its neighbours say, uint8 ``(rows, cols)``.

        What gains is raised pixel by pixel, but for sure spots and those that touch others, which
        keep their masks.  What loses is dimmed as a whole, by as much as its peak loses.
        """
        if self._log_ratio is None:
            raise RuntimeError("survey the scan first")
        labels, around, table = self._candidates(index)
        gain = self._log_ratio[self._follow(index)]
        peak = _probability(table["peak"])
        dimmed = np.minimum(_updated(peak, gain) / peak, 1)
        gain[: len(around)] = 0
        # the surroundings of spots, where there are any, go with the one that loses least
        halo = np.zeros(int(-labels.min(initial=0)) + 1)
        inside = around < len(halo)
        np.maximum.at(halo, around[inside], dimmed[: len(around)][inside])
        out = self._measured(index).copy()
        flat = np.flatnonzero(labels)
        label, value = labels.ravel()[flat], out.ravel()[flat].astype(float)
        own = np.maximum(label, 1) - 1
        gained = (label > 0) & (gain[own] > 0)
        kept = value * np.where(label > 0, dimmed[own], halo[np.maximum(-label, 0)])
        full = value / (_FULL_LEVEL * table["peak"][own])
        raised = 255 * np.minimum(_updated(_probability(value), gain[own]), full)
        out.ravel()[flat] = np.round(np.where(gained, np.maximum(raised, value), kept))
        return out

    def confirm(self, index: int) -> np.ndarray:
        """As in version 0.1, for one more release: `frame`."""
        return self.frame(index)

    @property
    def output(self) -> Output:
        return Output(self.cleaned.shape, np.uint8, orientation=self.scan.orientation)

    @property
    def inputs(self) -> tuple[Any, ...]:
        return (self.scan, self.cleaned)

    def recipe(self) -> dict[str, Any]:
        made = recipe(self.name, self.settings.replace(partner_threshold=self.threshold), self.scan)
        d = self.scan.description
        made["geometry"] = {
            name: getattr(d, name)
            for name in ("pixel_um", "source_sample_mm", "sample_detector_mm",
                         "detector_center_px", "detector_tilt_deg")
        }  # fmt: skip
        made["omega_deg"] = [float(omega) for omega in self._omega_deg]
        made["model"] = self.made.get("model", {})
        known = "input" in self.made
        made["cleaned"] = recipe_hash(self.made) if known else Scan(self.cleaned).identity()
        return made


def _probability(value: np.ndarray) -> np.ndarray:
    """Network output as a probability that is never quite 0 or 1."""
    return np.clip(np.asarray(value) / 255, 0.002, 0.998)


def _updated(probability: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
    """Bayes' rule: the odds are multiplied by a likelihood ratio."""
    odds = probability / (1 - probability) * np.exp(log_ratio)
    return odds / (1 + odds)


def _log_ratio(sure: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """How much likelier each outcome of the search is for a spot than by chance.

    Outcomes are weighed among those for which as many neighbours were looked at: where a spot
    would lie off the detector tells nothing.
    """
    ratio = np.zeros(chance.shape)
    for looked in range(1, len(chance)):
        part = (chance[looked] + 0.5) / (chance[looked] + 0.5).sum()
        mixed = sure[looked] + _DOUBT * part
        ratio[looked] = np.log(mixed / mixed.sum() / part)
    return ratio


def _share(counts: np.ndarray) -> float:
    """Part of those looked for in two projections or more that two or more have."""
    looked = counts[2:].sum()
    return float(counts[2:, 2:].sum() / looked) if looked else 0.0
