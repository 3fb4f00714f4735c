"""Spots as COCO-like JSON, for training other networks and for reading them back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError, reason
from ..core.files import atomic
from ..core.reading import check_declared
from ..core.schema import check, parse_json
from ..core.spot_words import WORDS
from ..core.stacks import LazyStack
from .regular import check_regular, read_bytes

_MOST_BYTES = 1 << 31
LONGEST_EDGE = 65_535
#: Of one image; no detector has more.
MOST_PIXELS = 1 << 27
_MOST_LIT, _LIT_A_BYTE = 2_000_000, 200  # pixels of spots; an outline takes 8 bytes a column
_BYTES_A_LETTER = 12  # of the values that a text becomes
_LARGEST_ID = np.iinfo(np.int32).max


_COCO = {
    "info": {"recipe": dict},
    "images": [{"height": int, "width": int}],
    "annotations": [{"segmentation": {"counts": list}, "image_id": int, "labdct": dict}],
}


class SparseFrames(LazyStack):
    """Label images ``(n, rows, cols)`` int32 kept as the positions and labels of their spots."""

    def __init__(self, shape, pixels: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
        super().__init__(shape, np.int32)
        self.pixels = pixels

    def read(self, index: int) -> np.ndarray:
        labels = np.zeros(self.shape[1:], np.int32)
        at, ids = self.pixels.get(index, ((), ()))
        labels.ravel()[np.asarray(at, np.int64)] = ids
        return labels


def write_coco(
    path: str | Path,
    table: np.ndarray,
    recipe: dict[str, Any],
    frames: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    names: Iterable[str] | None = None,
) -> Path:
    """Spots as COCO-like JSON: one image a projection, one annotation a spot.

    Masks are COCO's uncompressed run lengths (column by column, as COCO wants them); the
    measurements stand under ``labdct`` in each annotation.

    Parameters
    ----------
    path : path
    table : structured array
        Ordered by frame and id.
    recipe : dict
    frames : iterable of label images (rows, cols)
        One a projection.
    shape : (n, rows, cols)
    names : iterable of str, optional
        File names of the projections.
    """
    count, rows, cols = shape
    names = [f"frame_{i:04d}.tif" for i in range(count)] if names is None else list(names)
    head = {
        "info": {"description": "LabDCT diffraction spots", "recipe": recipe},
        "categories": [{"id": 1, "name": "spot"}],
        "images": [
            {"id": i, "file_name": name, "height": rows, "width": cols}
            for i, name in enumerate(names)
        ],
    }

    with atomic(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        number = 0
        for index, labels in enumerate(frames):
            here = table[slice(*np.searchsorted(table["frame"], [index, index + 1]))]
            for note in _annotations(here, labels):
                number += 1
                note = {"id": number, "image_id": index, "category_id": 1, **note}
                file.write((",\n" if number > 1 else "\n") + json.dumps(note))
        file.write("\n]}\n")
    return Path(path)


def _annotations(table: np.ndarray, labels: np.ndarray) -> Iterator[dict[str, Any]]:
    rows, cols = np.nonzero(labels.T)[::-1]  # column by column
    spot = labels[rows, cols]
    order = np.argsort(spot, kind="stable")
    at = (cols * labels.shape[0] + rows)[order]
    edges = np.searchsorted(spot[order], [table["id"], table["id"] + 1])
    for row, start, stop in zip(table, *edges):
        values = {name: _plain(name, row[name]) for name in table.dtype.names}
        height, width = (int(row[f"{n}_max"]) - int(row[f"{n}_min"]) + 1 for n in ("row", "col"))
        yield {
            "bbox": [int(row["col_min"]), int(row["row_min"]), width, height],
            "area": int(row["area_px"]),
            "iscrowd": 0,
            "segmentation": {
                "size": list(labels.shape),
                "counts": _run_lengths(at[start:stop], labels.size),
            },
            "labdct": values,
        }


def _plain(name: str, value) -> Any:
    words = WORDS.get(name)
    if words is not None:
        return words[int(value)] if value < len(words) else str(value)
    value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _run_lengths(at: np.ndarray, size: int) -> list[int]:
    """Lengths of the runs of 0, 1, 0... whose 1s stand at the ascending positions `at`."""
    if not at.size:
        return [size]
    breaks = np.flatnonzero(np.diff(at) > 1)
    starts = at[np.concatenate([[0], breaks + 1])]
    stops = at[np.concatenate([breaks, [at.size - 1]])] + 1
    edges = np.stack([starts, stops], 1).ravel()
    runs = np.diff(np.concatenate([[0], edges]))
    return [*runs.tolist(), int(size - edges[-1])]


def read_coco(path: Path) -> dict[str, Any]:
    """The file that `write_coco` wrote, as plain values.

    Raises
    ------
    ScanError
        It is another file, or a size, a run length, an id or an image is impossible.
    """
    try:
        check_regular(path)
        check_declared("its text", _BYTES_A_LETTER * path.stat().st_size)
        coco = parse_json(read_bytes(path, _MOST_BYTES), _MOST_BYTES)
        check(coco, _COCO)
        _check_images(coco["images"])
        for note in coco["annotations"]:
            _check_note(note, coco["images"])
        _check_pixels(coco, path.stat().st_size)
    except ScanError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScanError(
            f"{path.name} is not the JSON this package writes for spots ({reason(error)})."
        ) from error
    return coco


def _check_images(images: Any) -> None:
    if not isinstance(images, list) or not images:
        raise ValueError("it lists no images")
    sizes = {(image["height"], image["width"]) for image in images}
    rows, cols = next(iter(sizes))
    possible = all(_whole(n, 1, LONGEST_EDGE) for n in (rows, cols)) and rows * cols <= MOST_PIXELS
    if len(sizes) > 1 or not possible:
        raise ValueError("the images have impossible or unequal sizes")


def _check_note(note: Any, images: list[dict]) -> None:
    counts = note["segmentation"]["counts"]
    size = images[0]["height"] * images[0]["width"]
    if not isinstance(counts, list) or not all(_whole(n, 0, size) for n in counts):
        raise ValueError("a run length is impossible")
    if sum(counts) > size:
        raise ValueError("run lengths pass the end of the image")
    if not _whole(note["image_id"], 0, len(images) - 1):
        raise ValueError("a spot is on an image that is not listed")
    if not isinstance(note["labdct"], dict):
        raise ValueError("a spot has no measurements")
    if "id" in note["labdct"] and not _whole(note["labdct"]["id"], 1, _LARGEST_ID):
        raise ValueError("the id of a spot is impossible")


def _check_pixels(coco: dict[str, Any], n_bytes: int) -> None:
    """Refuse a few run lengths that stand for more spot pixels than the file can describe."""
    size = coco["images"][0]["height"] * coco["images"][0]["width"]
    lit = [0] * len(coco["images"])
    for note in coco["annotations"]:
        lit[note["image_id"]] += sum(note["segmentation"]["counts"][1::2])
    if max(lit, default=0) > size:
        raise ValueError("the spots of an image overlap")
    if sum(lit) > _MOST_LIT + _LIT_A_BYTE * n_bytes:
        raise ValueError("its spots are impossibly large")
    check_declared("its spots", 16.0 * sum(lit))


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def coco_labels(coco: dict[str, Any]) -> SparseFrames:
    """The masks of `read_coco` as label images."""
    images = coco["images"]
    rows, cols = images[0]["height"], images[0]["width"]
    parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for note in coco["annotations"]:
        edges = np.cumsum(note["segmentation"]["counts"])
        spans = [np.arange(a, b) for a, b in zip(edges[::2], edges[1::2])]
        at = np.concatenate(spans) if spans else np.zeros(0, int)
        flat = (at % rows) * cols + at // rows
        if "id" not in note["labdct"]:
            raise ScanError("A spot of the JSON has no id, so it holds no label images.")
        ids = np.full(flat.size, note["labdct"]["id"])
        parts.setdefault(int(note["image_id"]), []).append((flat, ids))
    pixels = {i: tuple(np.concatenate(a) for a in zip(*p)) for i, p in parts.items()}
    return SparseFrames((len(images), rows, cols), pixels)
