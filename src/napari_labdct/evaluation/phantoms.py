"""Fixed simulated scans that judge segmentations: near field, far field, two exposures.

Spots and truth come from the forward simulator.  Everything around them (scattered light, beam
stop with penumbra, streaks that stay, hot pixels, drift, cosmic rays, noise) is made here and
not by the generators of the training crops: a test made by the training's own generator would
prove less.  Everything follows from the seeds, which no training uses.

A true spot is what the training's labels say: pixels connected to its peak, above
``max(0.11 peak, min(sigma, 0.4 peak))``.  Each is cut by itself before they are summed; the
brighter owns what two of them claim, and where the signal dips between two that touch they are
kept apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic
from ..core.shape_kernels import separate
from ..scan.description import ScanDescription
from ..scan.scan import Scan
from ..simulation import SimulateSettings, Simulation
from ..simulation.deformed import bend, whole_spots
from ..simulation.settings import scan_geometry
from ..spots.label_levels import CORE_LEVEL, LABEL_LEVEL
from ..spots.matching import spot_labels

NEAR, FAR = "near field", "far field"
# Raised when the pixels change, so that no old scan is taken from the cache.
_VERSION = 2
_TRUTH_DTYPE = np.dtype(
    [("row", "f4"), ("col", "f4"), ("area_px", "i4"), ("peak_snr", "f4"), ("snr", "f4")]
)
#: Values of `MadeScan.nuisance`; 0 is neither.
COSMIC, STATIC = 1, 2


@dataclass(frozen=True)
class ScanRecipe:
    """Everything that decides a test scan.

    Parameters
    ----------
    name, group : str
        Group is `NEAR` or `FAR`.
    sample : dict
        Settings of the simulation, see `SimulateSettings`.
    seed : int
        Of the sample and of everything random.
    exposure : float
        Over the longest exposure: 1, 1/2, 1/4 ...
    truth_exposure : float, optional
        Exposure whose noise decides what counts as a true spot; `exposure` if None.
    median_peak_snr : float
        Half of the spots are higher, in noise sigmas at exposure 1.
    level : float
        Grey level of the background at exposure 1.
    noise : float
        Variance over grey level.
    readout : float
        Noise of the read-out, counts.
    offset : float
        Of the camera, counts.
    bend_deg : float
        Orientation spread within a deformed grain, which draws its spots out into streaks.
    frames : int
        Projections of a full turn; the rolling median is that of all of them.
    scored : tuple of int
        The projections that count.
    windows : tuple of int
        Smaller median windows kept beside the full one.
    """

    name: str
    group: str
    sample: dict[str, Any]
    seed: int
    exposure: float = 1.0
    truth_exposure: float | None = None
    median_peak_snr: float = 6.0
    level: float = 800.0
    noise: float = 1.0
    readout: float = 3.0
    offset: float = 100.0
    bend_deg: float = 0.0
    frames: int = 31
    scored: tuple[int, ...] = (1, 6, 11, 16, 21, 26)
    windows: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Equal for two recipes that make equal pixels."""
        made = [_VERSION, LABEL_LEVEL, CORE_LEVEL, asdict(self)]
        text = json.dumps(made, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def make(self) -> MadeScan:
        """Simulate it."""
        return make_scan(self)

    def twin(self, offset: int) -> ScanRecipe:
        """A scan of the same kind with another seed."""
        return replace(self, seed=self.seed + offset, windows=())

    def settings(self, **changes: Any) -> SimulateSettings:
        """The simulation of this scan."""
        turn = {"frames": self.frames, "start_deg": 0.0, "step_deg": 360 / self.frames}
        return SimulateSettings(
            **{"seed": self.seed, "truth_fraction": LABEL_LEVEL, **turn, **self.sample, **changes}
        )


@dataclass(frozen=True, eq=False)
class MadeScan:
    """The scored projections of a test scan and their truth.

    Parameters
    ----------
    recipe : ScanRecipe
    frames : uint16 array (k, rows, cols)
        The scored projections only.
    medians : dict of float32 array
        Rolling medians by window: (rows, cols) of the full turn, (k, rows, cols) of less.
    labels : int32 array (k, rows, cols)
        0 or the number, from 1, of the true spot.
    truth : list of arrays
        Row ``n - 1`` tells of spot ``n``; SNR is the mean noise-free signal in the label over
        the local noise sigma, `peak_snr` the largest.
    nuisance : uint8 array (k, rows, cols)
        `COSMIC` where a cosmic ray, `STATIC` where lasting structure stands above 2 sigma.
    beam_stop : bool array (rows, cols)
    """

    recipe: ScanRecipe
    frames: np.ndarray
    medians: dict[int, np.ndarray]
    labels: np.ndarray
    truth: list[np.ndarray]
    nuisance: np.ndarray
    beam_stop: np.ndarray

    @property
    def name(self) -> str:
        return self.recipe.name

    def scan(self) -> Scan:
        """The scored projections with their angles and the geometry they were made with."""
        settings = self.recipe.settings()
        geometry = scan_geometry(settings)
        known = ScanDescription(
            pixel_um=geometry.pixel_um,
            source_sample_mm=geometry.source_sample_mm,
            sample_detector_mm=geometry.sample_detector_mm,
            detector_center_px=geometry.detector_center_px,
        )
        return Scan(self.frames, settings.omega_deg[list(self.recipe.scored)], known, self.name)

    def median(self, k: int, window: int | None = None) -> np.ndarray:
        """Rolling median of the `k`-th scored projection; over the full turn if not told."""
        image = self.medians[self.recipe.frames if window is None else window]
        return image if image.ndim == 2 else image[k]


_PIXEL_2 = {"pixel_um": 3.3623, "rows": 2032, "cols": 2032, "binning": 2, "psf_px": 0.9}


def detector_far() -> dict[str, Any]:
    """Settings of a detector in the far field, 100 mm before and behind the sample."""
    return {
        "pixel_um": 34.15, "rows": 2048, "cols": 2048, "binning": 2, "psf_px": 0.85,
        "source_sample_mm": 100.0, "sample_detector_mm": 100.0,
        "beam_stop_width_mm": 11.0, "beam_stop_height_mm": 12.0,
    }  # fmt: skip


def cylinder(diameter: float, height: float, grain: float, **more: Any) -> dict[str, Any]:
    """Settings of a cylinder, um."""
    return {
        "sample": "cylinder", "diameter_um": diameter, "height_um": height,
        "mean_grain_um": grain, **more,
    }  # fmt: skip


def near(mm: float, **more: Any) -> dict[str, Any]:
    """Settings of a detector in the near field, `mm` before and behind the sample."""
    return {**_PIXEL_2, "source_sample_mm": mm, "sample_detector_mm": mm, **more}


_SAMPLES: tuple[dict[str, Any], ...] = (
    {"name": "fine", "group": NEAR, "level": 500.0, "noise": 1.0, "median_peak_snr": 3.0,
     "sample": cylinder(100.0, 150.0, 9.0, top_grain_um=32.0) | near(11.0)},
    {"name": "medium", "group": NEAR, "level": 900.0, "noise": 0.7, "median_peak_snr": 5.0,
     "sample": cylinder(200.0, 300.0, 35.0) | near(13.0)},
    {"name": "coarse", "group": NEAR, "level": 1500.0, "noise": 1.6, "median_peak_snr": 5.0,
     "sample": cylinder(400.0, 600.0, 64.0) | near(20.0)},
    {"name": "deformed", "group": NEAR, "level": 700.0, "noise": 1.2, "median_peak_snr": 2.0,
     "bend_deg": 0.8, "sample": cylinder(160.0, 220.0, 45.0, voxel_um=2.0) | near(11.0)},
    {"name": "magnified", "group": NEAR, "level": 300.0, "noise": 0.5, "median_peak_snr": 4.0,
     "readout": 6.0, "sample": cylinder(150.0, 200.0, 32.0, material="Fe", tube_kv=160.0)
     | near(11.0, sample_detector_mm=18.0, beam_stop_width_mm=4.0, beam_stop_height_mm=4.0)},
    {"name": "iron", "group": FAR, "level": 500.0, "noise": 0.8, "median_peak_snr": 5.0,
     "sample": cylinder(600.0, 700.0, 95.0, material="Fe", tube_kv=150.0) | detector_far()},
    {"name": "aluminium", "group": FAR, "level": 1200.0, "noise": 1.4, "median_peak_snr": 4.0,
     "sample": cylinder(1200.0, 1200.0, 190.0) | detector_far()},
    {"name": "crowded", "group": FAR, "level": 250.0, "noise": 0.6, "median_peak_snr": 4.0,
     "readout": 5.0, "sample": cylinder(500.0, 900.0, 70.0, spread=0.3, material="Fe")
     | detector_far() | {"source_sample_mm": 50.0}},
)  # fmt: skip

TEST_SEED, TUNING_OFFSET = 900_000, 10_000
EXPOSURES = (1.0, 0.25)


def judging_recipes(exposures: Iterable[float] = EXPOSURES) -> tuple[ScanRecipe, ...]:
    """The scans that judge: five samples in the near field, three in the far field."""
    exposures = tuple(exposures)
    return tuple(
        ScanRecipe(**sample, seed=TEST_SEED + k, exposure=exposure)
        for k, sample in enumerate(_SAMPLES)
        for exposure in exposures
    )


def tuning_twin(recipe: ScanRecipe) -> ScanRecipe:
    """The scan peers are tuned on for this one: of the same kind, with another seed."""
    return recipe.twin(TUNING_OFFSET)


def _kept(path: Path, recipe: ScanRecipe) -> MadeScan:
    with np.load(path) as kept:
        count = len(recipe.scored)
        return MadeScan(
            recipe,
            kept["frames"],
            {int(n[1:]): kept[n].astype(np.float32) / 2 for n in kept.files if n[0] == "w"},
            kept["labels"].astype(np.int32),
            [kept[f"truth{k}"] for k in range(count)],
            kept["nuisance"],
            kept["beam_stop"],
        )


def cached_scan(recipe: ScanRecipe, folder: str | Path) -> MadeScan:
    """`make_scan`, or what it made the last time, kept in `folder`.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = Path(folder) / f"{recipe.name}-{recipe.key}.npz"
    if path.exists():
        with contextlib.suppress(OSError, EOFError, LookupError, ValueError, zipfile.BadZipFile):
            return _kept(path, recipe)  # one that is damaged is made again
    made = recipe.make()
    with atomic(path) as part, open(part, "wb") as file:
        np.savez_compressed(
            file,
            frames=made.frames,
            labels=made.labels.astype(np.uint16),
            nuisance=made.nuisance,
            beam_stop=made.beam_stop,
            # the median of whole counts is a whole number of halves
            **{f"w{n}": np.round(2 * m).astype(np.uint32) for n, m in made.medians.items()},
            **{f"truth{k}": t for k, t in enumerate(made.truth)},
        )
    return made


def make_scan(recipe: ScanRecipe) -> MadeScan:
    """Simulate a test scan; the same recipe gives the same pixels."""
    background = _Background(recipe)
    spots = Spots(recipe)
    sigma = background.sigma_map(recipe.truth_exposure)
    stack, labels, truth, nuisance = [], [], [], []
    for index in range(recipe.frames):
        signal, label, height = spots.project(index)
        frame, cosmic = background.expose(index, signal)
        stack.append(frame)
        if index in recipe.scored:
            light = (recipe.truth_exposure or recipe.exposure) / recipe.exposure
            label, table = truth_of(label, light * signal, light * height, sigma)
            labels.append(label)
            truth.append(table)
            nuisance.append(np.where(cosmic, COSMIC, background.structure * STATIC))
    frames = np.stack(stack)
    scored = list(recipe.scored)
    medians = {recipe.frames: np.median(frames, axis=0).astype(np.float32)}
    for window in recipe.windows:
        around = np.arange(-(window // 2), window // 2 + 1)
        medians[window] = np.stack(
            [np.median(frames[(k + around) % recipe.frames], axis=0) for k in scored]
        ).astype(np.float32)
    return MadeScan(
        recipe,
        frames[scored],
        medians,
        np.stack(labels),
        truth,
        np.stack(nuisance).astype(np.uint8),
        background.beam_stop,
    )


def truth_of(labels: np.ndarray, signal: np.ndarray, height: np.ndarray, sigma: np.ndarray):
    """Spots cut out of the noise, numbered from 1 without gaps, and what is known of them.

    `height` is the peak of each, and infinite for label 0.
    """
    labels[signal < np.minimum(sigma, CORE_LEVEL * height[labels])] = 0
    separate(labels, signal, height[1:].astype(np.float32), np.float32(0.9))
    labels, count = spot_labels(labels)
    labels = labels.astype(np.int32)
    inside = np.flatnonzero(labels)
    at = labels.ravel()[inside] - 1
    snr = signal.ravel()[inside] / sigma.ravel()[inside]
    table = np.zeros(count, _TRUTH_DTYPE)
    area = np.bincount(at, minlength=count)
    table["area_px"] = area
    table["row"] = np.bincount(at, inside // labels.shape[1], count) / area
    table["col"] = np.bincount(at, inside % labels.shape[1], count) / area
    table["snr"] = np.bincount(at, snr, count) / area
    np.maximum.at(table["peak_snr"], at, snr.astype(np.float32))
    return labels, table


class Spots:
    """Noise-free spots of every projection, in counts, and their labels."""

    pieces = 24  # slices of a bent grain

    def __init__(self, recipe: ScanRecipe) -> None:
        self.bent = recipe.bend_deg > 0
        # A bent grain's slices are cut once they are put together again.
        level = 0.05 if self.bent else LABEL_LEVEL
        settings = recipe.settings(truth_min_grey=1e-6, truth_fraction=level)
        self.simulation = Simulation(settings)
        if self.bent:
            grains = bend(self.simulation.grains, self.pieces, recipe.bend_deg, recipe.seed)
            self.simulation = Simulation(settings, grains=grains)
        peaks = self.simulation.project(settings.omega_deg[0]).spots["peak"]
        # sigma at exposure 1 is what the brightness of the spots refers to
        full = float(np.hypot(np.sqrt(recipe.noise * recipe.level), recipe.readout))
        self.scale = recipe.median_peak_snr * full / float(np.median(peaks[peaks > 0]))
        self.scale *= recipe.exposure

    def keep_grains(self, share: float, rng: np.random.Generator) -> None:
        """Leave a random share of the grains, one at least; their spots stay as bright."""
        grains = self.simulation.grains
        count = max(1, round(share * grains.n_grains))
        kept = np.zeros(grains.n_grains + 1, bool)
        kept[1 + rng.permutation(grains.n_grains)[:count]] = True
        fewer = replace(grains, labels=np.where(kept[grains.labels], grains.labels, 0))
        self.simulation = Simulation(self.simulation.settings, grains=fewer)

    def project(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Signal (rows, cols), labels (rows, cols), and the peak of each label from 0."""
        omega = self.simulation.settings.omega_deg[index]
        projection = self.simulation.project(omega, index)
        signal = projection.image * np.float32(self.scale)
        if self.bent:
            labels, peaks = whole_spots(projection, self.pieces, LABEL_LEVEL)
        else:
            labels = projection.labels.astype(np.int32)
            peaks = np.concatenate([[np.inf], projection.spots["peak"]])
        return signal, labels, peaks * self.scale


class _Background:
    """What a detector shows besides the spots, in counts.

    Attributes
    ----------
    still : float32 array (rows, cols)
        Everything that stays the same from frame to frame, at this exposure.
    sigma : float
        Typical noise.
    structure : bool array (rows, cols)
        Where lasting structure stands more than 2 sigma out of the smooth background.
    beam_stop : bool array (rows, cols)
    """

    def __init__(self, recipe: ScanRecipe) -> None:
        from scipy import ndimage as ndi

        self.recipe = recipe
        geometry = scan_geometry(recipe.settings())
        self.shape, self.beam_stop = geometry.shape, geometry.beam_stop_mask()
        rng = np.random.default_rng([recipe.seed, 1])
        rows, cols = np.indices(self.shape, np.float32)
        y, x = rows / self.shape[0] - 0.5, cols / self.shape[1] - 0.5
        middle = rng.uniform(-0.05, 0.05, 2)
        away = np.hypot(y - middle[0], x - middle[1])
        smooth = 0.75 + rng.uniform(0.3, 0.8) * np.exp(-((away / rng.uniform(0.3, 0.6)) ** 2))
        smooth *= 1 + rng.uniform(-0.25, 0.25) * x + rng.uniform(-0.25, 0.25) * y
        smooth *= 1 + 0.1 * np.exp(-((x / 0.06) ** 2)) * (y < rng.uniform(-0.2, 0.2))
        smooth *= 1 + 0.04 * self._field(rng, 7)
        smooth /= np.median(smooth)
        smooth *= 1 - 0.94 * ndi.gaussian_filter(self.beam_stop.astype(np.float32), 5.0)
        sigma = np.sqrt(recipe.noise * recipe.level)  # at exposure 1: structure grows with light
        extra = sigma * self._structure(rng, (rows, cols), ndi)
        self.still = (recipe.level * smooth + extra).astype(np.float32) * recipe.exposure
        self.sigma = float(np.hypot(np.sqrt(recipe.noise * np.median(self.still)), recipe.readout))
        self.structure = extra * recipe.exposure > 2 * self.sigma
        walk = np.random.default_rng([recipe.seed, 2])
        drift = np.cumsum(walk.normal(0, 0.015, recipe.frames))
        self.drift = 1 + drift - np.linspace(0, drift[-1], recipe.frames)

    def _field(self, rng, waves: int) -> np.ndarray:
        """Smooth random field of unit variance: half waves up to `waves` over each edge."""
        down, across = (
            np.cos(np.pi * np.arange(waves) * (np.arange(n)[:, None] + 0.5) / n).astype(np.float32)
            for n in self.shape
        )
        return down @ (2 / waves * rng.standard_normal((waves, waves), np.float32)) @ across.T

    def _structure(self, rng, place, ndi) -> np.ndarray:
        """Streaks round the beam stop, columns, edge glow, hot pixels: in noise sigmas."""
        rows, cols = self.shape
        streaks = np.zeros(self.shape, np.float32)
        count = 300
        for angle, start, length, height in zip(
            rng.uniform(0, 2 * np.pi, count),
            rng.uniform(0.12, 0.6, count) * rows,
            np.exp(rng.uniform(np.log(2), np.log(40), count)),
            np.exp(rng.uniform(np.log(1), np.log(25), count)),
        ):
            along = np.arange(0, length, 0.5) + start
            r = np.round(rows / 2 + along * np.sin(angle)).astype(int)
            c = np.round(cols / 2 + along * np.cos(angle)).astype(int)
            on = (r >= 0) & (r < rows) & (c >= 0) & (c < cols)
            streaks[r[on], c[on]] = height
        extra = 2.0 * ndi.gaussian_filter(streaks, 0.8)
        extra += 0.15 * rng.standard_normal((1, cols), np.float32)
        extra += 0.2 * rng.standard_normal(self.shape, np.float32)
        extra += rng.uniform(1, 8) * np.exp((place[1] - cols) / 3.0)
        hot = rng.choice(rows * cols, round(1.2e-3 * rows * cols), replace=False)
        extra.flat[hot] += np.exp(rng.uniform(np.log(3), np.log(80), hot.size))
        return extra

    def sigma_map(self, exposure: float | None = None) -> np.ndarray:
        """Noise sigma of every pixel, without spots, for an exposure (its own by default)."""
        r = self.recipe
        still = self.still * ((exposure or r.exposure) / r.exposure)
        return np.sqrt(r.noise * np.maximum(still, 0) + r.readout**2 + 1 / 12)

    def expose(self, index: int, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A noisy projection uint16 and where cosmic rays hit it."""
        r = self.recipe
        rng = np.random.default_rng([r.seed, 4, index, round(1e6 * r.exposure)])
        uneven = 1 + np.float32(0.004) * self._field(rng, 4)  # as measured on real frames
        expected = np.maximum(np.float32(self.drift[index]) * (self.still * uneven + signal), 0)
        image = expected + np.sqrt(r.noise * expected) * rng.standard_normal(self.shape, np.float32)
        few = expected < 30 * r.noise  # where Poisson numbers are not yet normal
        image[few] = r.noise * rng.poisson(expected[few] / r.noise)
        image += np.float32(r.readout) * rng.standard_normal(self.shape, np.float32) + r.offset
        hits = self._cosmic_rays(rng)
        return np.clip(np.rint(image + hits), 0, 65535).astype(np.uint16), hits > self.sigma

    def _cosmic_rays(self, rng) -> np.ndarray:
        """Hits of one to three pixels and straight tracks, about 80 in a megapixel."""
        hits = np.zeros(self.shape, np.float32)
        rows, cols = self.shape
        for _ in range(rng.poisson(8e-5 * rows * cols)):
            r, c, turn = rng.uniform(0, rows), rng.uniform(0, cols), rng.uniform(0, np.pi)
            height = self.sigma * np.exp(rng.normal(3.0, 1.0))
            for step in range(min(12, rng.geometric(0.5))):
                i, j = int(r + step * np.sin(turn)), int(c + step * np.cos(turn))
                if i < rows and 0 <= j < cols:
                    hits[i, j] += height * rng.uniform(0.3, 1)
        return hits


def exposure_recipes(
    parts: Iterable[float], names: Iterable[str] = ("medium", "iron")
) -> tuple[ScanRecipe, ...]:
    """One near-field and one far-field scan at several exposures with the truth of exposure 1."""
    full, parts = {r.name: r for r in judging_recipes((1.0,))}, tuple(parts)
    return tuple(
        replace(full[name], exposure=part, truth_exposure=1.0) for name in names for part in parts
    )


def window_recipes() -> tuple[ScanRecipe, ...]:
    """A near-field and a far-field scan of 61 projections, with medians of fewer."""
    full = {r.name: r for r in judging_recipes((1.0,))}
    more = {"frames": 61, "scored": (5, 25, 45), "windows": (31, 15, 7)}
    return tuple(replace(full[name], **more) for name in ("medium", "iron"))


def arc_recipes(
    step_deg: float = 2.0, exposure: float = 1.0, frames: int = 31
) -> tuple[ScanRecipe, ...]:
    """The test scans in the steps of a real scan, every projection of an arc with its truth.

    The paper's scans have 181 projections in steps of 2 deg, those of the iron sample 121 in 3.
    """
    return tuple(
        replace(r, sample={**r.sample, "step_deg": step_deg}, frames=frames,
                scored=tuple(range(frames)))
        for r in judging_recipes((exposure,))
    )  # fmt: skip
