"""Measure a reviewed scan and write it out: what the Review dock and ``labdct spots`` share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..background.rolling_median import SPOT_WINDOW
from ..core.recipes import recipe_hash
from ..io import label_stacks, spot_tables
from ..io.coco import write_coco
from ..io.flt import write_flt
from ..scan.scan import Scan
from ..spots.binarisation import BINARISED, binarised
from ..spots.detections import Detections, measure_frame
from ..spots.measurement import FrameMeasurer
from .review import Review, ReviewedFrames, with_status


def spots_recipe(
    scan: Scan, detections: Detections, review: Review, median_window: int, **more: Any
) -> dict[str, Any]:
    """What a spot table is made of: the scan, where its spots came from, and the review."""
    import time

    return {
        "job": "spots",
        "settings": {"median_window": median_window},
        "input": {
            "name": scan.name,
            "id": scan.identity(),
            "shape": [scan.n_frames, *scan.shape],
            "pixel_um": scan.description.pixel_um,
        },
        "spots": detections.about(),
        "review": {"file": review.path.name if review.path else None,
                   "corrected_frames": review.corrected},
        **more,
        "napari_labdct": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }  # fmt: skip


def spots_id(made: dict[str, Any]) -> str:
    """Equal for the same spots of the same scan, however they were reviewed."""
    fixed = {k: made[k] for k in ("job", "settings", "input")}
    spots = {
        name: _as_hashed(entry) if name != "spots_id" else entry
        for name, entry in made["spots"].items()
    }
    return recipe_hash({**fixed, "spots": spots})


def _as_hashed(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of `Detections.about` in the words that ids of reviews were first made of."""
    kept = {k: v for k, v in entry.items() if k not in ("recipe", BINARISED)}
    how = binarised(entry)
    return kept if how is None else {**kept, "cut": how}


def measure_reviewed(
    scan: Scan,
    detections: Detections,
    review: Review,
    median_window: int = SPOT_WINDOW,
    frames: Iterable[int] | None = None,
) -> Iterator[np.ndarray]:
    """Measure projection after projection with its corrections; tables of `REVIEW_DTYPE`."""
    detections.check(scan)
    measurer = FrameMeasurer(scan, median_window)
    touched = set(review.corrected)
    for index in range(scan.n_frames) if frames is None else frames:
        labels = review.labels(index, detections) if index in touched else None
        yield with_status(measure_frame(measurer, detections, index, labels), review)


def frame_names(scan: Scan) -> list[str] | None:
    """Names of the files of a scan with one projection a file, from their common folder."""
    paths = [Path(p) for p in getattr(scan.frames, "paths", ())]
    if len(paths) != scan.n_frames:
        return None
    common = os.path.commonpath([p.absolute().parent for p in paths])
    return [p.absolute().relative_to(common).as_posix() for p in paths]


def export_table(
    path: str | Path,
    table: np.ndarray,
    recipe: dict[str, Any],
    frames: ReviewedFrames,
    names: list[str] | None = None,
) -> Path:
    """Write a table in the format that the end of the name says.

    Parameters
    ----------
    path : path
        ``.csv``, ``.parquet``, ``.flt`` (ImageD11), ``.h5`` (table and label images) or ``.json``
        (COCO-like).
    table : structured array of `review.REVIEW_DTYPE`
        Ordered by frame and id; spots to be written.
    recipe : dict
    frames : ReviewedFrames
        Label images; only the spots of `table` are written.
    names : list of str, optional
        File names of the projections for COCO, from `frame_names`.

    Raises
    ------
    OutputError
        The folder cannot be written, or a package is missing.
    """
    kind = Path(path).suffix.lower()
    if kind == ".csv":
        return spot_tables.write_csv(path, table, recipe)
    if kind == ".parquet":
        return spot_tables.write_parquet(path, table, recipe)
    if kind == ".flt":
        return write_flt(path, table, recipe)
    only = (_only(frames[i], table, i) for i in range(len(frames)))
    if kind == ".json":
        return write_coco(path, table, recipe, only, frames.shape, names)
    return spot_tables.write_hdf5(path, table, recipe, only, frames.shape)


def _only(labels: np.ndarray, table: np.ndarray, index: int) -> np.ndarray:
    """A label image with the spots of a table."""
    ids = table["id"][slice(*np.searchsorted(table["frame"], [index, index + 1]))]
    kept = np.zeros(max(int(labels.max(initial=0)), int(ids.max(initial=0))) + 1, bool)
    kept[ids] = True
    return np.where(kept[labels], labels, 0)


def export_stack(
    path: str | Path,
    frames: ReviewedFrames,
    recipe: dict[str, Any],
    *,
    binary: bool,
    longest_px: int | None = None,
    orientation: int = 1,
    table: np.ndarray | None = None,
    order: Iterable[int] | None = None,
) -> Path:
    """Write masks (uint8, 0 or 255, touching spots apart) or labels (uint16), in frame order.

    Parameters
    ----------
    path : path
        A ``.tif``.
    frames : ReviewedFrames
    recipe : dict
    binary : bool
        Masks, or labels.
    longest_px : int, optional
        Longer edge of the images, as some indexing programs want it.
    orientation : int
        TIFF Orientation tag copied from the input.
    table : structured array, optional
        Write only the spots of this table, ordered by frame and id.
    order : iterable of int, optional
        The projections in order; give one that reports progress.
    """
    from .corrections import separate

    rows, cols = frames.shape[1:]
    factor = 1 if longest_px is None else longest_px / max(rows, cols)
    shape = max(1, round(rows * factor)), max(1, round(cols * factor))

    def images() -> Iterator[np.ndarray]:
        for index in range(len(frames)) if order is None else order:
            labels = frames[index]
            if table is not None:
                labels = _only(labels, table, index)
            # at its final size, so that the gaps are not closed again
            labels = label_stacks.resized(labels, shape)
            yield separate(labels) * np.uint8(255) if binary else labels

    kind = np.uint8 if binary else np.uint16
    return label_stacks.write_stack(
        path, images(), recipe, dtype=kind, orientation=orientation, count=len(frames)
    )
