"""What the Compare dock runs in workers: generators only; no Qt here, and no viewer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...background.rolling_median import SPOT_WINDOW
from ...core.frame_store import FrameStore
from ...core.jobs import Progress
from ...core.recipes import recipe_beside
from ...core.robust import robust_sigma
from ...core.stacks import LazyStack
from ...evaluation.comparison import (
    Comparison,
    FrameResult,
    Segmentation,
    compare,
    open_segmentation,
)
from ...scan.scan import Scan
from ...spots.log_routine import RoutineJob, RoutineSettings, log_segment
from ...spots.matching import match_spots
from ..app import preferences
from ..app.result_cache import open_result
from .engine import Engine
from .request import Source, Window

if TYPE_CHECKING:
    from ...simulation.prediction import Prediction

_TELL_S = 1.0
#: What a simulation leaves beside its frames; in labels even touching spots are apart.
_TRUTHS = ("labels.tif", "truth.tif")


def apply_routine(engine: Engine, settings: RoutineSettings) -> Iterator[Progress | FrameStore]:
    """Run the routine over the scan into the cache folder; hands on the store first."""
    job = RoutineJob(engine.scan, settings, engine.stored_median(settings.median_window))
    store = open_result(job, *preferences.results())
    yield store
    yield from job.run(store)


@dataclass(frozen=True)
class Thumbnail:
    """One step of a sweep: the settings, a picture (rows, cols, 3) uint8, the spots' number."""

    settings: RoutineSettings
    value: float
    picture: np.ndarray
    count: int


def sweep(
    engine: Engine,
    index: int,
    settings: RoutineSettings,
    name: str,
    values: Sequence[float],
    window: Window,
) -> Iterator[Progress | Thumbnail]:
    """Try one parameter at several values on one projection."""
    yield Progress(0, len(values))
    for done, value in enumerate(values, start=1):
        tried = settings.replace(**{name: value})
        ground = engine.corrected(index, tried)
        mask = log_segment(ground, tried, engine.stop)
        part = np.s_[window[0] : window[1], window[2] : window[3]]
        piece, spots = ground[part], mask[part]
        sigma = robust_sigma(piece, floor=1e-3)
        grey = np.clip((piece / sigma + 2) / 12, 0, 1) * 255
        picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        picture[spots] = (255, 159, 28)
        count = match_spots(mask, np.zeros_like(mask)).n_a
        yield Thumbnail(tried, value, np.ascontiguousarray(picture), count)
        yield Progress(done, len(values))


@dataclass(frozen=True)
class Tally:
    """The numbers of the projections compared so far, ready to be shown.

    Parameters
    ----------
    numbers : dict
        As `Comparison.numbers` gives them.
    frames : structured array of `evaluation.FRAME_DTYPE`
    worst : list of int
        Projections by their unexplained bright pixels, most first.
    spread : dict of name to (middle, spots of A, spots of B)
        Histograms of SNR and area, like the paper's Fig. S1.
    by_snr : (array, array), optional
        A and B against the truth, rows of `evaluation.BIN_DTYPE`.
    """

    numbers: dict[str, float]
    frames: np.ndarray
    worst: list[int]
    spread: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    by_snr: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, result: Comparison) -> Tally:
        spots = [result.spots("a"), result.spots("b")]
        spread = {}
        for name in ("snr", "area_px"):
            values = [table[name] if table.size else np.zeros(0) for table in spots]
            both = np.concatenate(values)
            top = max(float(np.percentile(both, 98)) if both.size else 1.0, 1.0)
            step = top / 30 if name == "snr" else max(1.0, np.ceil(top / 30))  # whole pixels
            edges = np.arange(0, top + step, step) - (0 if name == "snr" else 0.5)
            counts = (np.histogram(v, edges)[0].astype(float) for v in values)
            spread[name] = ((edges[:-1] + edges[1:]) / 2, *counts)
        worst = [int(i) for i in result.worst_first("a")]
        by_snr = (result.by_snr("a"), result.by_snr("b")) if result.has_truth else None
        return cls(result.numbers(), result.frames, worst, spread, by_snr)


@dataclass(frozen=True, eq=False)
class Sides:
    """What is compared: the masks as they were when the run began.

    Parameters
    ----------
    engine : Engine
    sources : (Source, Source, Source or None)
        A, B and the truth.
    settings : RoutineSettings
        Of the live routine.
    """

    engine: Engine
    sources: tuple[Source, Source, Source | None]
    settings: RoutineSettings

    @property
    def key(self) -> tuple:
        """Equal for runs whose numbers must be equal."""
        states = [s and s.state(self.settings) for s in self.sources]
        return (self.engine, *states)

    def fixed(self) -> tuple[Segmentation, Segmentation, Segmentation | None]:
        """Masks with their recipes; reads a few projections, so call it in a worker."""
        scan, settings = self.engine.scan, self.settings
        median = self.engine.stored_median(settings.median_window)
        return tuple(s and s.fixed(scan, settings, median) for s in self.sources)

    def frames(self) -> list[int]:
        """Projections that all of them have by now."""
        done = np.ones(self.engine.scan.n_frames, bool)
        for source in self.sources:
            if source is not None and source.done is not None:
                done &= source.done()
        return [int(i) for i in np.flatnonzero(done)]


def compare_all(
    sides: Sides, known: Sequence[FrameResult] = ()
) -> Iterator[Progress | FrameResult | Tally]:
    """Compare projection after projection; results and, now and then, a `Tally` are handed on.

    Parameters
    ----------
    sides : Sides
    known : sequence of FrameResult
        Projections compared before, which are not compared again.
    """
    yield Progress(0, 0, "Starting")
    a, b, truth = sides.fixed()
    result = Comparison((a.name, b.name))
    for one in known:
        result.add(one)
    frames = sides.frames()
    todo = [i for i in frames if i not in result.results]
    done = len(frames) - len(todo)
    yield Progress(done, len(frames))
    engine, told = sides.engine, time.monotonic()
    stored = engine.stored_median(SPOT_WINDOW)
    for one in compare(engine.scan, a, b, truth, median=stored, frames=todo):
        done += 1
        result.add(one)
        yield one
        if time.monotonic() - told > _TELL_S or done == len(frames):
            yield Tally.of(result)
            told = time.monotonic()
        yield Progress(done, len(frames), frame=one.frame)


def read_recipes(sides: Sides) -> Iterator[tuple[Segmentation, Segmentation, Segmentation | None]]:
    """A, B and the truth with their recipes, which name the pixels they were made of."""
    yield sides.fixed()


def write_everything(
    folder: Path, sides: Sides, result: Comparison, overwrite: bool = False
) -> Iterator[Progress]:
    """Write CSV tables, pictures and the report of what was compared."""
    from ...evaluation import report

    yield Progress(0, 2)
    a, b, truth = sides.fixed()
    scan, frames = sides.engine.scan, sorted(result.results)
    output = report.report_folder(folder, scan, a, b, truth, frames=frames, overwrite=overwrite)
    with output.written():
        result.write_csv(folder)
        yield Progress(1, 2)
        report.write_report(folder, scan, a, b, result)
    yield Progress(2, 2, f"In {folder}")


def reference_of(scan: Scan, *sides: Source | None) -> LazyStack | np.ndarray | None:
    """Masks to tune the routine against: of the first side that is fixed, if it is whole."""
    other = next((side for side in sides if side is not None and not side.live), None)
    if other is None or tuple(other.segmentation.masks.shape[1:]) != scan.shape:
        return None
    if other.done is not None and not other.done().all():
        return None  # projections without a result would count as empty
    return other.segmentation.masks


def import_masks(scan: Scan, path: Path) -> Iterator[Segmentation]:
    """Masks of another program: a TIFF stack, or a folder of TIFFs."""
    found = open_segmentation(path)
    found.check(scan)
    yield found


def find_truth(scan: Scan) -> Path | None:
    """The truth that a simulation left beside its projections, if there is one."""
    if not scan.source:
        return None
    folder = Path(scan.source)
    folder = folder if folder.is_dir() else folder.parent
    return next((folder / name for name in _TRUTHS if (folder / name).exists()), None)


def open_truth(scan: Scan, path: Path) -> Iterator[tuple[Scan, Source]]:
    """The truth of a simulated scan as a source."""
    truth = replace(open_segmentation(path), name="simulated truth")
    truth.check(scan)
    yield scan, Source(f"truth {path}", truth.name, truth, kind="truth")


def map_beside(scan: Scan) -> str:
    """The grain map in the folder of a scan, as the simulation writes it; empty if none is."""
    if not scan.source:
        return ""
    source = Path(scan.source)
    path = (source if source.is_dir() else source.parent) / "grains.h5"
    return str(path) if path.exists() else ""


def open_prediction(scan: Scan, path: str, mirrored: bool) -> Iterator[Progress | Prediction]:
    """Read a grain map; a simulated scan's own reflections and energies are taken."""
    from ...simulation.prediction import Prediction, PredictSettings

    yield Progress(0, 1, "Reading the grain map")
    recipe = recipe_beside(scan.source) if scan.source else {}
    known = recipe.get("settings", {}) if recipe.get("job") == "simulate" else {}
    same = {n: known[n] for n in ("families", "energy_min_kev") if known.get(n)}
    made = Prediction(scan, PredictSettings(grain_map=path, y_flip=mirrored, **same))
    made.grains.diameters_um  # noqa: B018  (kept from now on: it goes over the whole volume)
    yield made
    yield Progress(1, 1)
