"""Test scans over real detector noise: simulated spots on projections that hold none.

Simulated backgrounds flatter: what a network learnt on one generator it may find again in another.
So here the projections are real ones of a detector in which nobody finds a spot (blank frames: of
an empty beam, of a powder, or of a scan whose spots were replaced by noise from nearby), with their
cosmic rays, streaks, hot pixels and drift, and only the spots come from the simulator.  Spots of an
expected signal ``S`` (counts) are added as::

    k * poisson(S / k)

with ``k`` the variance over grey level that the frame itself shows, so that they are as noisy as
everything else on that detector.  The blank frames are not part of this package; the user gives
a folder of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..background.drift import source_drift
from ..background.noise import block_median, noise_map
from ..core.errors import ScanError
from ..core.files import make_folder, write_atomically
from ..core.jobs import Progress
from ..io.grainmapper_writer import write_grainmapper
from ..io.scan_yaml import write_scan_yaml
from ..io.tiff import write_frames
from ..scan.scan import Scan
from ..simulation.settings import scan_geometry
from .phantoms import (
    COSMIC,
    FAR,
    NEAR,
    STATIC,
    MadeScan,
    ScanRecipe,
    cylinder,
    detector_far,
    near,
    truth_of,
)
from .phantoms import Spots as SimulatedSpots

# Raised when the pixels change, so that no old scan is taken from the cache.
_VERSION = 1
#: Turns and mirror images a frame can have; all but the first four need square frames.
TURNS = 8
# A blank frame holds no spot, so what stands out so far is a cosmic ray.
_COSMIC_SIGMA = 6.0
_FEWEST = 5


class BlankFrames:
    """Real projections without spots, one scan of one detector.

    Parameters
    ----------
    scan : Scan
        In the order in which they were taken, for their drift.

    Attributes
    ----------
    frames : array (n, rows, cols)
        Counts.

    Raises
    ------
    ScanError
        Too few projections for a rolling median.
    """

    def __init__(self, scan: Scan) -> None:
        if scan.n_frames < _FEWEST:
            raise ScanError(
                f"'{scan.name}' has {scan.n_frames} blank projections; a rolling median needs "
                f"{_FEWEST} or more."
            )
        self.name = scan.name
        self.frames = np.stack([scan.frame(i) for i in range(scan.n_frames)])

    @classmethod
    def open(cls, folder: str | Path) -> BlankFrames:
        """Read a folder of TIFFs, or whatever else `io.open_scan` takes."""
        from ..io import open_scan

        return cls(open_scan([str(folder)]))

    @cached_property
    def identity(self) -> str:
        """Equal for equal pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.frames)).hexdigest()[:16]

    @cached_property
    def ground(self) -> np.ndarray:
        """Median of all, float32 (rows, cols)."""
        return np.median(self.frames, axis=0).astype(np.float32)

    @cached_property
    def light(self) -> np.ndarray:
        """Brightness (n,) of each over the median."""
        return np.array([float(source_drift(frame, self.ground)) for frame in self.frames])

    @cached_property
    def level(self) -> float:
        """Typical grey level, counts."""
        return float(np.median(self.ground))

    @cached_property
    def variance_over_level(self) -> np.ndarray:
        """``k`` (n,) of each: the median over the frame of noise variance over grey level."""
        lit = self.ground > 0.2 * self.level
        total, others = self.frames.sum(axis=0, dtype=np.float64), len(self.frames) - 1
        found = []
        for frame, light in zip(self.frames, self.light, strict=True):
            # not the median: it is one of the frames, often this one, without any noise then
            mean = ((total - frame) / others).astype(np.float32)
            variance = noise_map(frame, mean) ** 2 / (1 + 1 / others)
            found.append(np.median(variance[lit] / (light * self.ground[lit])))
        return np.array(found)


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """One of the turns and mirror images of the last two axes: 0 to 7, 0 as it is.

    Odd ones are quarter turns, which exchange rows and columns; 4 to 7 are mirrored.
    """
    image = np.rot90(image, turn % 4, (-2, -1))
    return np.ascontiguousarray(image[..., ::-1] if turn >= 4 else image)


@dataclass(frozen=True)
class BlankRecipe(ScanRecipe):
    """A test scan on blank frames: `ScanRecipe` without the made-up background.

    Its `level` and `noise` are those of the frames, its `frames` as many as there are.

    Parameters
    ----------
    blank : BlankFrames
    turn : int
        How the frames are turned before spots are put on; see `turned`.
    share : float
        Part of the grains that are there, for scans more or less crowded.
    eight_bit : bool
        Written in 0 to 255, as the paper's frames.
    """

    blank: BlankFrames = field(default=None, compare=False, repr=False)
    turn: int = 0
    share: float = 1.0
    eight_bit: bool = False

    @property
    def key(self) -> str:
        values = asdict(replace(self, blank=None))
        sample = values["sample"]
        if sample.get("grain_map"):
            content = Path(sample["grain_map"]).read_bytes()
            values["sample"] = {**sample, "grain_map": hashlib.sha256(content).hexdigest()}
        made = [_VERSION, ScanRecipe.__module__, self.blank.identity, sorted(values.items())]
        return hashlib.sha256(repr(made).encode()).hexdigest()[:16]

    def make(self) -> MadeScan:
        return make_blank_scan(self)

    def twin(self, offset: int) -> BlankRecipe:
        """Another sample on other frames, turned otherwise."""
        others = [i for i in range(self.frames) if i not in self.scored]
        step = max(1, len(others) // len(self.scored))
        return replace(
            self, seed=self.seed + offset, turn=(self.turn + 2) % 4,
            scored=tuple(others[::step][: len(self.scored)]), windows=(),
        )  # fmt: skip


def make_blank_scan(recipe: BlankRecipe) -> MadeScan:
    """Put simulated spots on blank frames; the same recipe gives the same pixels."""
    blank = recipe.blank
    frames = turned(blank.frames, recipe.turn).copy()
    ground = turned(blank.ground, recipe.turn)
    stop = scan_geometry(recipe.settings()).beam_stop_mask()
    typical = float(np.median(blank.variance_over_level))
    sigma = np.sqrt(typical * np.maximum(ground, 1.0))
    spots = _spots(recipe)
    rng = np.random.default_rng([recipe.seed, 5])
    labels, truth, nuisance = [], [], []
    static = ground - block_median(ground) > 2 * sigma
    for index, (light, k) in enumerate(zip(blank.light, blank.variance_over_level, strict=True)):
        empty = frames[index].astype(np.float32)
        signal = np.zeros(empty.shape, np.float32)
        if spots is not None:
            signal, label, height = spots.project(index)
            frames[index] = _add(frames[index], light * signal, k, rng)
        if index in recipe.scored:
            if spots is None:
                label, height = np.zeros(empty.shape, np.int32), np.array([np.inf])
            label, table = truth_of(label, signal, height, sigma)
            labels.append(label)
            truth.append(table)
            cosmic = empty - light * ground > _COSMIC_SIGMA * sigma
            nuisance.append(np.where(cosmic, COSMIC, static * STATIC))
    if recipe.eight_bit:
        top = float(np.percentile(frames, 99.9))
        frames = np.clip(np.rint(frames * np.float32(255 / top)), 0, 255).astype(np.uint8)
    scored = list(recipe.scored)
    median = np.median(frames, axis=0).astype(np.float32)
    return MadeScan(
        recipe, frames[scored], {recipe.frames: median}, np.stack(labels), truth,
        np.stack(nuisance).astype(np.uint8), stop,
    )  # fmt: skip


def _add(frame: np.ndarray, signal: np.ndarray, k: float, rng) -> np.ndarray:
    """A frame with noisy spots on it, in its own type."""
    seen = k * rng.poisson(np.maximum(signal, 0) / k)
    top = np.iinfo(frame.dtype).max if frame.dtype.kind in "ui" else np.inf
    return np.minimum(np.rint(frame + seen), top).astype(frame.dtype)


def _spots(recipe: BlankRecipe) -> SimulatedSpots | None:
    """The spots of a share of the grains, as bright as those of all would be; None of none."""
    if recipe.share <= 0:
        return None
    spots = SimulatedSpots(recipe)
    if recipe.share < 1:
        spots.keep_grains(recipe.share, np.random.default_rng([recipe.seed, 6]))
    return spots


_IRON = {"material": "Fe", "tube_kv": 150.0}
# Names tell material, grain size in um and, if it is not 11, the source distance in mm.
_SAMPLES: tuple[dict[str, Any], ...] = (
    {"name": "Al 18", "group": NEAR, "median_peak_snr": 3.5,
     "sample": cylinder(110.0, 150.0, 18.0) | near(11.0)},
    {"name": "Al 35", "group": NEAR, "median_peak_snr": 4.0,
     "sample": cylinder(220.0, 300.0, 35.0) | near(11.0)},
    {"name": "Al 64", "group": NEAR, "median_peak_snr": 5.0,
     "sample": cylinder(400.0, 500.0, 64.0) | near(11.0)},
    {"name": "Fe 40", "group": NEAR, "median_peak_snr": 4.0,
     "sample": cylinder(180.0, 250.0, 40.0, **_IRON) | near(13.0)},
    {"name": "Fe 40, 8 bit", "group": NEAR, "median_peak_snr": 4.0, "eight_bit": True,
     "sample": cylinder(180.0, 250.0, 40.0, **_IRON) | near(13.0)},
    {"name": "Fe 40, magnified", "group": NEAR, "median_peak_snr": 4.0,
     "sample": cylinder(150.0, 200.0, 40.0, **_IRON)
     | near(11.0, sample_detector_mm=18.0, beam_stop_width_mm=4.0, beam_stop_height_mm=4.0)},
    {"name": "map", "group": NEAR, "median_peak_snr": 12.0,
     "sample": {"sample": "grain map"} | near(13.035, sample_detector_mm=15.096, tube_kv=110.0)},
    {"name": "Fe 95, far", "group": FAR, "median_peak_snr": 5.0,
     "sample": cylinder(600.0, 700.0, 95.0, **_IRON) | detector_far()},
    {"name": "Al 190, far", "group": FAR, "median_peak_snr": 4.0,
     "sample": cylinder(1200.0, 1200.0, 190.0) | detector_far()},
)  # fmt: skip

_SEED = 930_000


def blank_recipes(
    blank: BlankFrames, grain_map: str | Path | None = None, scored: int = 6
) -> tuple[BlankRecipe, ...]:
    """The scans over real noise: six near-field and two far-field samples.

    Parameters
    ----------
    blank : BlankFrames
    grain_map : path, optional
        GrainMapper3D file of a measured sample, for a seventh near-field scan.
    scored : int
        Projections of each that count.
    """
    n, rows, cols = blank.frames.shape
    known = {"level": blank.level, "noise": float(np.median(blank.variance_over_level)),
             "readout": 0.0, "offset": 0.0, "frames": n, "blank": blank}  # fmt: skip
    places = np.linspace(1, n - 2, min(scored, n - 2)).round().astype(int)
    found = []
    for k, sample in enumerate(_SAMPLES):
        is_map = sample["sample"]["sample"] == "grain map"
        if is_map and grain_map is None:
            continue
        turn = k % (TURNS if rows == cols else 4)
        turn -= turn % 2 if rows != cols else 0
        made = dict(sample["sample"]) | ({"grain_map": str(grain_map)} if is_map else {})
        size = made["binning"]
        made |= {"rows": rows * size, "cols": cols * size}
        scored_here = tuple(int(i) for i in np.unique(places))
        found.append(BlankRecipe(
            **{**sample, "sample": made}, **known, seed=_SEED + k, turn=turn, scored=scored_here
        ))  # fmt: skip
    return tuple(found)


def crowding_recipes(recipe: BlankRecipe, shares=(0.0, 0.1, 0.3, 1.0)) -> tuple[BlankRecipe, ...]:
    """The same frames with fewer of the spots: what does the crowd itself do?"""
    return tuple(replace(recipe, share=share) for share in shares)


def write_blank_scan(recipe: BlankRecipe, folder: str | Path) -> Iterator[Progress]:
    """A whole scan over blank frames, as `simulation.simulate_scan` writes one.

    Projection `i` lies on blank frame `i` modulo their number, so that a rolling median over that
    many holds none of them twice.

    Parameters
    ----------
    recipe : BlankRecipe
        `frames` may be more than there are blank ones; `scored` does not matter.
    folder : path
        Gets ``frames.tif``, ``labels.tif`` (true spots, numbered in each projection), ``truth.tif``
        (0 or 255), ``spots.csv`` (SNR and area of every true spot), ``grains.h5``, ``scan.yaml``.

    Yields
    ------
    Progress
        One per frame; the last file written is ``scan.yaml``.

    Raises
    ------
    ScanError
        The blank frames are smaller than the detector.
    OutputError
        The folder cannot be written.
    """
    settings, blank, folder = recipe.settings(), recipe.blank, Path(folder)
    shape = scan_geometry(settings).shape
    if any(n > m for n, m in zip(shape, turned(blank.ground, recipe.turn).shape, strict=True)):
        raise ScanError(
            f"The detector has {shape} pixels, the blank frames only {blank.ground.shape}; give a "
            "smaller detector."
        )
    spots = _spots(recipe)
    ground = _middle(turned(blank.ground, recipe.turn), shape)
    sigma = np.sqrt(float(np.median(blank.variance_over_level)) * np.maximum(ground, 1.0))
    make_folder(folder)
    frames = np.empty((recipe.frames, *shape), blank.frames.dtype)
    labels = np.empty((recipe.frames, *shape), np.uint16)
    tables = []
    rng = np.random.default_rng([recipe.seed, 5])
    for index in range(recipe.frames):
        which = index % len(blank.frames)
        light, k = blank.light[which], blank.variance_over_level[which]
        signal, label, height = spots.project(index)
        frame = _middle(turned(blank.frames[which], recipe.turn), shape)
        frames[index] = _add(frame, light * signal, k, rng)
        label, table = truth_of(label, light * signal, light * height, sigma)
        labels[index] = label
        tables.append((index, table))
        yield Progress(index + 1, recipe.frames)
    names = tables[0][1].dtype.names
    rows = [
        ",".join([str(i), str(n), *(f"{v:.6g}" for v in row)])
        for i, table in tables
        for n, row in enumerate(table.tolist(), 1)
    ]
    write_atomically(
        folder / "spots.csv", "\n".join([",".join(["frame", "id", *names]), *rows, ""])
    )
    write_frames(folder / "labels.tif", labels)
    write_frames(folder / "truth.tif", ((label > 0) * np.uint8(255) for label in labels),
                 count=recipe.frames)  # fmt: skip
    write_frames(folder / "frames.tif", frames)
    simulation = spots.simulation
    write_grainmapper(
        folder / "grains.h5", simulation.grains, simulation.material,
        source_sample_mm=settings.source_sample_mm, tube_kv=settings.tube_kv,
        sample_detector_mm=settings.sample_detector_mm, n_projections=settings.frames,
    )  # fmt: skip
    scan = Scan(frames, settings.omega_deg, simulation.description(), folder.name)
    write_scan_yaml(folder / "scan.yaml", scan, ["frames.tif"])


def _middle(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The middle of an image; its beam stop's shadow stays in the middle."""
    first = [(n - m) // 2 for n, m in zip(image.shape, shape, strict=True)]
    return image[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
