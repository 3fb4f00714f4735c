"""Training sets on disk: the paper's 1086 pairs, or any number of one's own.

Every pair is decided by the seed and its number.  A folder holds ``train`` and ``validation``,
each a folder of pairs as `io.training_pairs.read_training_pairs` reads them, ``spots.csv`` with the
SNR of every spot, its histogram (the paper's Fig. S1) as ``snr.csv`` and ``snr.png``, and
``recipe.json``.  For crops without a disk see `mixing.MixedScan.stream`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._version import __version__
from ...background.sets import BackgroundSet
from ...background.steps import resize
from ...core.errors import OutputError, SettingsError
from ...core.files import atomic, cannot_write, make_folder, read_json, remove, write_atomically
from ...core.jobs import Progress
from ...core.locks import alone
from ...core.outputs import taken as taken_by_other
from ...core.recipes import recipe_hash
from ...io.spot_csv import write_spot_csv
from ...io.tiff import write_frames
from ...io.training_pairs import PAIRS_FORMAT
from ...scan.scan import Scan
from ...simulation import PRESETS, Simulation
from ...simulation.settings import SimulateSettings, scan_geometry
from . import synthesis as syn
from .crop_spots import SPOT, measure_spots
from .own_scan import (
    Backdrop,
    brightness,
    expose,
    resampling_note,
    settings_of_scan,
    typical_signal,
)
from .own_scan_settings import TrainingSetSettings

SPLITS = ("train", "validation")
_JOB = "training set"


@dataclass(frozen=True)
class Pair:
    """One training pair.

    Attributes
    ----------
    frame : uint8 or uint16 array (rows, cols)
        x of eq. 2.
    mask : uint8 array (rows, cols)
        y_c: 255 in spots, 0 elsewhere.
    median : float32 array (rows, cols) or None
    spots : array of synthesis.SPOT
        Area and SNR before resizing, places after it.
    made_from : dict
        Sample, angle and background.
    """

    frame: np.ndarray
    mask: np.ndarray
    median: np.ndarray | None
    spots: np.ndarray
    made_from: dict[str, Any]


class TrainingSet:
    """Pairs of simulated samples over backgrounds, made when asked for.

    Parameters
    ----------
    settings : TrainingSetSettings
    backgrounds : sequence of BackgroundSet
        Each pair takes one at random, and a projection of it.
    simulations : sequence of SimulateSettings, optional
        One for each sample, all with frames of one size; those of the settings if not given.
    threads : int, optional
        For projecting; all cores, 8 at most, if None.
    like : TrainingSet, optional
        Another one of the same backgrounds and samples; what it has made is used again.

    Attributes
    ----------
    note : str
        Empty, or sentences on what was resampled.
    recipe : dict

    Raises
    ------
    SettingsError, ScanError
        Something cannot be simulated, or a background does not fit.
    """

    def __init__(
        self,
        settings: TrainingSetSettings,
        backgrounds: Sequence[BackgroundSet],
        simulations: Sequence[SimulateSettings] | None = None,
        threads: int | None = None,
        like: TrainingSet | None = None,
    ) -> None:
        self.settings = settings
        self._samples = list(simulations or samples_of(settings))
        self._threads = threads
        self._made: dict[int, Simulation] = {}
        self._last: tuple[int, Any, float] | None = None
        shapes = {scan_geometry(s).shape for s in self._samples}
        if not backgrounds or len(shapes) != 1:
            raise SettingsError("Simulate frames of one size, and give at least one background.")
        self.shape = shapes.pop()
        self.note = " ".join(filter(None, (resampling_note(b, self.shape) for b in backgrounds)))
        self._sets = list(backgrounds)
        if like is not None and like._samples == self._samples and like._sets == self._sets:
            self._made, self._last = like._made, like._last
            self._backdrops = [b.with_settings(settings) for b in like._backdrops]
        else:
            self._backdrops = [Backdrop(b.resampled(self.shape), settings) for b in backgrounds]
        self.recipe: dict[str, Any] = {
            "job": _JOB,
            "settings": settings.to_dict(),
            "input": {
                "name": ", ".join(b.name for b in backgrounds),
                "id": [b.identity() for b in backgrounds],
                "simulations": [s.to_dict() for s in self._samples],
            },
            "napari_labdct": __version__,
        }
        # Two pairs share a projection, so it is projections that are kept for validation.
        order = np.random.default_rng(settings.seed).permutation(-(-settings.pairs // 2))
        rank = np.argsort(order)[np.arange(settings.pairs) // 2]
        held = np.argsort(rank, kind="stable")[: int(settings.validation_percent / 100
                                                     * settings.pairs)]  # fmt: skip
        self._held = np.zeros(settings.pairs, bool)
        self._held[held] = True

    def __len__(self) -> int:
        return self.settings.pairs

    def split(self, index: int) -> str:
        """``train`` or ``validation``."""
        return SPLITS[int(self._held[index])]

    def _simulation(self, number: int) -> Simulation:
        """Sample `number`; after as many as there are, the same ones with another seed."""
        turn, sample = divmod(number, len(self._samples))
        if number not in self._made:
            for old in [k for k in self._made if k % len(self._samples) == sample]:
                del self._made[old]
            settings = self._samples[sample]
            settings = settings.replace(seed=settings.seed + turn)
            self._made[number] = Simulation(settings, self._threads)
        return self._made[number]

    def _projection(self, number: int) -> tuple[Any, Simulation, float]:
        """Projection `number`: the samples take turns, each goes through its angles."""
        if self._last is None or self._last[0] != number:
            step, sample = divmod(number, len(self._samples))
            turn, angle = divmod(step, self._samples[sample].frames)
            simulation = self._simulation(turn * len(self._samples) + sample)
            projection = simulation.project(float(simulation.settings.omega_deg[angle]), angle)
            self._last = number, (projection, simulation), typical_signal(projection)
        projection, simulation = self._last[1]
        return projection, simulation, self._last[2]

    def pair(self, index: int) -> Pair:
        """Pair `index`, by eqs 1 and 2."""
        s = self.settings
        rng = np.random.default_rng([s.seed, index])
        projection, simulation, typical = self._projection(index // 2)
        backdrop = self._backdrops[int(rng.integers(len(self._backdrops)))]
        number = int(rng.integers(backdrop.set.n_frames))
        ground = backdrop.ground(rng, number)
        noise = ground.noise
        factor = np.float32(brightness(rng, s, typical, ground))
        signal = projection.image * factor
        signal[backdrop.hidden] = 0
        labels = np.where(backdrop.hidden, 0, projection.labels)
        frame, expected, sigma = expose(rng, signal, ground)
        if s.output == "16-bit":
            frame += backdrop.cosmic_rays(rng, self.shape)
        median = None
        if s.median_window is not None:
            median = syn.modelled_median(rng, ground.still, frame, expected, sigma, s.median_window)
        spots = measure_spots(labels, signal, noise)[1]
        mask = (labels > 0) * np.uint8(255)
        frame = np.clip(np.rint(frame), 0, ground.top)
        if s.resize_px is not None:
            shape = _shape_of(self.shape, s.resize_px)
            for name, size, old in zip(("row", "col"), shape, self.shape):
                spots[name] = (spots[name] + 0.5) * size / old - 0.5
            frame, mask = resize(frame, shape), (resize(mask, shape) >= 127.5) * np.uint8(255)
            median = None if median is None else resize(median, shape)
        kind = np.uint8 if ground.top < 256 else np.uint16
        frame = np.rint(frame).astype(kind)
        made_from = {
            "sample": simulation.settings.sample,
            "sample_seed": simulation.settings.seed,
            "omega_deg": float(projection.spots["omega_deg"][0]) if len(projection.spots) else None,
            "background": backdrop.set.name,
            "background_frame": number,
        }
        return Pair(frame, mask, median, spots, made_from)

    def write(self, folder: str | Path, *, overwrite: bool = False) -> Iterator[Progress]:
        """Write all pairs; closing the generator stops, the same call goes on.

        Yields
        ------
        Progress
            One a pair.

        Raises
        ------
        OutputError
            The folder cannot be written or holds something else.
        """
        folder = Path(folder).expanduser()
        # Tried before anything is written, so that refused settings leave no files behind.
        if not (folder / "snr.png").exists():
            self._simulation(0)
        make_folder(folder)
        with alone(folder / "recipe.json", folder):
            yield from self._write(folder, overwrite)

    def _write(self, folder: Path, overwrite: bool) -> Iterator[Progress]:
        todo = _begin(folder, self.recipe, len(self), overwrite)
        done = len(self) - len(todo)
        yield Progress(done, len(self), self.note)
        for index in todo:
            self._write_pair(folder, index)
            done += 1
            yield Progress(done, len(self), frame=index)
        if todo or not (folder / "snr.png").exists():
            yield Progress(done, len(self), self._finish(folder))

    def _write_pair(self, folder: Path, index: int) -> None:
        """The images first; a pair whose entry is there is whole."""
        pair, place = self.pair(index), folder / self.split(index)
        entry: dict[str, Any] = {"index": index}
        images = {"frame": pair.frame, "median": pair.median, "mask": pair.mask}
        for name, image in images.items():
            if image is not None:
                entry[name] = f"{name}_{index:04d}.tif"
                zipped = "zlib" if name == "mask" else None
                write_frames(place / entry[name], [image], compression=zipped)
        entry |= pair.made_from
        table = [[float(f"{v:.6g}") for v in row] for row in pair.spots.tolist()]
        write_atomically(_entry_path(folder, index), json.dumps({"pair": entry, "spots": table}))

    def _finish(self, folder: Path) -> str:
        """Lists of the pairs, table of the spots, and their histogram; returns a sentence."""
        entries = []
        tables = []
        for index in range(len(self)):
            found = json.loads(_entry_path(folder, index).read_text(encoding="utf-8"))
            entries.append(found["pair"])
            rows = [(index, *row) for row in found["spots"]]
            tables.append(np.array(rows, [("pair", "i4"), *SPOT.descr]))
        for split in SPLITS:
            mine = [e for k, e in enumerate(entries) if self.split(k) == split]
            if mine:
                listed = {"format": PAIRS_FORMAT, "recipe": self.recipe, "pairs": mine}
                write_atomically(folder / split / "pairs.json", json.dumps(listed))
        write_spot_csv(folder / "spots.csv", tables)
        snr = np.concatenate([t["snr"] for t in tables])
        write_histogram(folder, snr)
        if not snr.size:
            return "No spots at all."
        low, middle, high = np.percentile(snr, (5, 50, 95))
        return (
            f"{len(self)} pairs ({int(self._held.sum())} for validation) with {snr.size} spots, "
            f"SNR {low:.2g} to {high:.2g} (5 to 95 %), median {middle:.2g}."
        )


def samples_of(settings: TrainingSetSettings, scan: Scan | None = None) -> list[SimulateSettings]:
    """The samples in the geometry of the paper's Table 1, or in that of a scan.

    Raises
    ------
    SettingsError
        A sample is unknown.
    ScanError
        The geometry of the scan is incomplete.
    """
    names = [name.strip() for name in settings.samples.split(",") if name.strip()]
    for name in names or [""]:
        if name not in PRESETS:
            raise SettingsError(f"'{name}' is no sample; choose from {', '.join(PRESETS)}.")
    if scan is not None:
        return [settings_of_scan(scan, sample=n, truth=settings.truth) for n in names]
    given = {"truth": settings.truth, "binning": settings.binning}
    return [SimulateSettings.preset(name, **given) for name in names]


def snr_bins(snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (n + 1,) and counts (n,) of a histogram, ten bins a decade from 0.01 to 1000.

    Bins outside the range of the spots are left out; what lies beyond 0.01 or 1000 counts in the
    last bin there.
    """
    edges = np.geomspace(0.01, 1000, 51)
    counts, _ = np.histogram(np.clip(snr, edges[0], edges[-1]), edges)
    filled = np.flatnonzero(counts)
    first, last = (filled[0], filled[-1] + 1) if filled.size else (10, 30)
    return edges[first : last + 1], counts[first:last]


def write_histogram(folder: Path, snr: np.ndarray) -> None:
    """``snr.csv`` and ``snr.png``, as the paper's Fig. S1.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    from matplotlib.figure import Figure

    edges, counts = snr_bins(snr)
    table = np.zeros(len(counts), [("snr_from", "f4"), ("snr_to", "f4"), ("spots", "i8")])
    table["snr_from"], table["snr_to"], table["spots"] = edges[:-1], edges[1:], counts
    write_spot_csv(folder / "snr.csv", [table])
    figure = Figure(figsize=(5.2, 3.2), dpi=150, layout="constrained")
    axis = figure.subplots()
    axis.stairs(counts, edges, fill=True)
    axis.set_xscale("log")
    axis.set_xlabel("SNR: mean above background / noise")
    axis.set_ylabel(f"spots (of {int(counts.sum())})")
    with atomic(folder / "snr.png") as part:
        figure.savefig(part, format="png")


def _shape_of(shape: tuple[int, int], longer: int) -> tuple[int, int]:
    return tuple(max(1, round(n * longer / max(shape))) for n in shape)


def _entry_path(folder: Path, index: int) -> Path:
    return folder / "made" / f"{index:06d}.json"


def discard(folder: str | Path) -> None:
    """Delete what `TrainingSet.write` left in a folder, finished or not, and nothing else."""
    folder = Path(folder)
    if read_json(folder / "recipe.json").get("job") != _JOB:  # somebody else's files
        return
    for entry in (folder / "made").glob("*.json"):
        remove(entry)
    for split in SPLITS:
        for name in ("frame", "median", "mask"):
            for image in (folder / split).glob(f"{name}_*.tif"):
                remove(image)
        remove(folder / split / "pairs.json")
    for name in ("spots.csv", "snr.csv", "snr.png", "recipe.json"):
        remove(folder / name)
    for empty in (*(folder / split for split in SPLITS), folder / "made", folder):
        with contextlib.suppress(OSError):  # something of the user's is in it
            empty.rmdir()


# What is there before the recipe is, and after a kill.
_UNFINISHED = ("recipe.json.tmp", "recipe.json.lock")


def _begin(folder: Path, recipe: dict[str, Any], count: int, overwrite: bool) -> list[int]:
    """Numbers of the pairs that are still to be made; an empty folder is begun."""
    path = folder / "recipe.json"
    made = {**recipe, "hash": recipe_hash(recipe)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(entry.name not in _UNFINISHED for entry in folder.iterdir())
    except OSError as error:
        raise cannot_write(folder, error) from error
    there = read_json(path)
    same = there.get("hash") == made["hash"]
    if taken and not same:
        if not overwrite:
            raise taken_by_other(folder)
        if there.get("job", _JOB) != _JOB:
            raise OutputError(f"{folder} holds results of another kind; choose another folder.")
        discard(folder)
        folder.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(made, indent=1))
    (folder / "made").mkdir(exist_ok=True)
    return [k for k in range(count) if not _entry_path(folder, k).exists()]
