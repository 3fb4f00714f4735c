"""What the Background dock runs in workers: generators only; no Qt here, and no viewer.

`BackgroundController` lives in the session, so a run goes on when
its dock is closed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...background import (
    BackgroundSet,
    Extraction,
    ExtractionSettings,
    Measurement,
    Steps,
)
from ...background.static import StaticImage, static_image
from ...background.steps import normalised
from ...core.files import atomic
from ...core.frame_store import FrameStore
from ...core.jobs import Progress
from ...scan.scan import Scan
from ..app.result_cache import open_result

#: Fig. 11 of the paper, and what is left of the projection.
STEPS = (
    "b: spots dropped",
    "c: fill mask",
    "d: filled",
    "e: background",
    "f: background, coloured",
    "projection - background",
)


@dataclass(frozen=True, eq=False)
class Shown:
    """The images of one projection, as many as there are yet."""

    index: int
    images: dict[str, np.ndarray]
    sentence: str


@dataclass(frozen=True, eq=False)
class Opened:
    """The file that a run writes I_BG to."""

    store: FrameStore


@dataclass(frozen=True, eq=False)
class Saved:
    """A set that a run has left in the list."""

    path: Path


@dataclass(frozen=True, eq=False)
class Known:
    """What previews of one scan share, so that changing a setting costs one projection."""

    scan: Scan
    settings: ExtractionSettings
    rough: StaticImage
    extraction: Extraction


def _same_static(one: ExtractionSettings, two: ExtractionSettings) -> bool:
    names = ("static_frames", "static_detail")
    return all(getattr(one, name) == getattr(two, name) for name in names)


def show_steps(
    scan: Scan, settings: ExtractionSettings, index: int, known: Known | None
) -> Generator[Progress | Known | Shown, None, None]:
    """The steps on one projection: (b) to (d) as soon as they are there, then the rest.

    The spots are not taken out of the static image once more, as a run does: the difference
    cannot be seen, and would take as long as a run of that many projections.
    """
    if known is not None and known.scan is not scan:
        known = None
    if known is None or known.settings != settings:
        rough = known.rough if known and _same_static(known.settings, settings) else None
        if rough is None:
            rough = yield from static_image(scan, settings)
        extraction = Extraction(scan, settings)
        extraction.static = rough
        known = Known(scan, settings, rough, extraction)
        yield known
    extraction = known.extraction
    steps = extraction.steps(index)
    images = _first_images(steps)
    said = (
        f"Projection {index}: {100 * float(np.mean(steps.without_spots == 0)):.2g} % spots, "
        f"{100 * float(steps.fill_mask.mean()):.0f} % filled."
    )
    yield Shown(index, images, said)
    yield from extraction.load(index)
    level = extraction.level(index)
    background = normalised(level, settings.brightest_percent)
    images = {
        **images,
        STEPS[3]: background,
        STEPS[4]: background,
        STEPS[5]: steps.projection.astype(np.float32) - np.float32(steps.drift) * level,
    }
    count = len(extraction.window_of(index))
    yield Shown(index, images, f"{said} Background from {count} projections. {extraction.note}")


def _first_images(steps: Steps) -> dict[str, np.ndarray]:
    made = (steps.without_spots, steps.fill_mask.astype(np.uint8), steps.filled)
    return dict(zip(STEPS, made, strict=False))


def extract(
    scan: Scan, settings: ExtractionSettings, cache: Path, limit_gb: float, folder: Path
) -> Generator[Progress | Opened | Saved, None, None]:
    """Extract the background of a whole scan and leave the set in `folder`."""
    yield Progress(0, 0, "Opening the result file")
    measurement = Measurement(scan, settings)
    store = open_result(measurement.extraction, cache, limit_gb)
    yield Opened(store)
    measurement.store = store
    last = Progress(0, 0)
    for last in measurement.run():
        yield last
    result = measurement.result()
    saved = result.save(free_path(folder, scan.name))
    yield Saved(saved)
    rank = len(result.components)
    said = (
        f"Noise variance {result.gain:.2g} x level, {len(result.hot_pixels)} hot pixels, "
        f"{result.cosmic_events:.0f} cosmic rays a projection, "
        f"{rank} changing part{'s' if rank != 1 else ''}. {measurement.extraction.note}"
    )
    yield Progress(last.total, last.total, said.strip())


def free_path(folder: Path, name: str) -> Path:
    plain = re.sub(r"[^\w.-]+", "_", name).strip("._")[:60] or "background"
    path, number = folder / f"{plain}.h5", 1
    while path.exists():
        number += 1
        path = folder / f"{plain}_{number}.h5"
    return path


def load_set(path: Path) -> Generator[BackgroundSet, None, None]:
    """One set, whole."""
    yield BackgroundSet.load(path)


def copy_set(source: Path, target: Path) -> Generator[Progress, None, None]:
    """Copy a set to where the user wants it, or into the list; it is read to check it."""
    BackgroundSet.load(source)
    with atomic(target) as part:
        shutil.copyfile(source, part)
    yield Progress(1, 1, f"Wrote {target}")
