"""What the Review dock writes and reads in a worker: exports, pictures, decisions, labels."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...background.rolling_median import SPOT_WINDOW
from ...core.errors import SettingsError
from ...core.files import atomic
from ...core.frame_store import spare_inputs
from ...core.jobs import Progress
from ...core.outputs import held
from ...io import label_stacks, spot_tables
from ...io.training_pairs import write_training_pairs
from ...review.export import export_stack, export_table, frame_names
from ...review.review import REVIEW_DTYPE, ReviewedFrames, training_pairs
from ...spots.detections import Detections
from ...spots.measurement import FrameMeasurer
from ..app.job import report
from .tasks import Corrected, Corrector, Measured


def export(
    measured: Measured,
    table: np.ndarray,
    path: Path,
    kind: str,
    longest_px: int | None,
    about: dict[str, Any],
) -> Generator[Progress, None, None]:
    """Write some spots in one of the formats.

    Parameters
    ----------
    measured : Measured
    table : structured array of `REVIEW_DTYPE`
        The spots to be written, ordered by frame and id.
    path : path
    kind : str
        ``table``, ``binary``, ``labels`` or ``pairs``.
    longest_px : int, optional
        Longer edge of stacks.
    about : dict
        How the spots were chosen, for the recipe.
    """
    scan, total = measured.scan, measured.scan.n_frames
    frames = ReviewedFrames(measured.spots, measured.review)
    recipe = {
        **measured.recipe,
        "review": {"file": measured.review.path and measured.review.path.name,
                   "corrected_frames": measured.review.corrected},
        **about,
    }  # fmt: skip

    def order() -> Iterator[int]:
        for index in range(total):
            report(Progress(index, total))
            yield index

    yield Progress(0, total)
    spare_inputs([path], scan, measured.spots)
    if kind == "table":
        export_table(path, table, recipe, frames, frame_names(scan))
    elif kind == "pairs":
        measurer = FrameMeasurer(scan, SPOT_WINDOW)
        pairs = training_pairs(measurer, measured.spots, measured.review)
        with held(Path(path) / "pairs.json"):
            count = sum(1 for _ in write_training_pairs(path, pairs, recipe))
        if not count:
            raise SettingsError("Accept or correct some spots first; there is no pair to save.")
        yield Progress(total, total, f"Wrote {count} pairs to {path}")
        return
    else:
        export_stack(
            path,
            frames,
            recipe,
            binary=kind == "binary",
            longest_px=longest_px,
            orientation=scan.orientation,
            table=table,
            order=order(),
        )
    yield Progress(total, total, f"Wrote {path}")


def write_picture(
    image: np.ndarray, path: Path, recipe: dict[str, Any]
) -> Generator[Progress, None, None]:
    """Write a picture of the view as PNG, with its recipe beside it."""
    from imageio.v3 import imwrite

    yield Progress(0, 1)
    with spot_tables.described(path, recipe), atomic(path) as part:
        imwrite(part, image, extension=".png")
    yield Progress(1, 1, f"Wrote {path}")


@dataclass(frozen=True)
class Decisions:
    """Statuses read from a file."""

    keys: np.ndarray
    status: np.ndarray
    name: str
    missing: int


def read_decisions(path: Path, table: np.ndarray) -> Generator[Progress | Decisions, None, None]:
    """The statuses in a spot table, for the spots of ``(frame, id)`` that stand where they stood.

    Parameters
    ----------
    path : path
        CSV, Parquet, HDF5 or COCO-like JSON.
    table : structured array
        The present table.
    """
    yield Progress(0, 0, f"Reading {path.name}")
    given, _ = spot_tables.read_table(path, REVIEW_DTYPE)
    code, here = (t["frame"].astype(np.int64) << 32 | t["id"] for t in (given, table))
    at = np.searchsorted(here, code)
    at[at == len(here)] = 0
    known = (here[at] == code) if len(here) else np.zeros(len(given), bool)
    for axis in ("row", "col"):
        known &= np.abs(table[axis][at] - given[axis]) <= 3 if len(here) else known
    keys = np.stack([given["frame"], given["id"]], 1)[known]
    yield Decisions(keys, given["status"][known], path.name, int((~known).sum()))


def read_corrections(
    path: Path, corrector: Corrector, measured: Measured
) -> Generator[Progress | Corrected, None, None]:
    """Label images from a file: each projection that differs becomes a correction."""
    yield Progress(0, 0, f"Reading {path.name}")
    stack = label_stacks.read_labels(path)
    if tuple(stack.shape) != measured.spots.shape:
        raise SettingsError(f"{path.name} has {stack.shape} pixels; it belongs to another scan.")
    read = Detections(stack)
    for index in range(len(read)):
        labels = read[index]
        present = measured.review.labels(index, measured.spots)
        if not np.array_equal(labels > 0, present > 0) or _differ(labels, present):
            yield corrector.replace(index, labels)
        yield Progress(index + 1, len(read))


def _differ(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two label images of the same mask part it differently; numbers do not count."""
    inside = a > 0
    pairs = np.unique(np.stack([a[inside], b[inside]]), axis=1)
    return pairs.shape[1] != max(np.unique(pairs[0]).size, np.unique(pairs[1]).size)
