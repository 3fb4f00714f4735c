"""Reviewed projections and their masks on disk, for fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError, quoted, reason
from ..core.files import make_folder, write_atomically
from ..core.reading import load_json
from ..core.schema import check
from .tiff import TiffFrames, write_frames

#: Of the list that a folder of training pairs holds, ``pairs.json``.
PAIRS_FORMAT = "napari-labdct pairs 1"


def write_training_pairs(
    folder: str | Path,
    pairs: Iterable[tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]],
    recipe: dict[str, Any],
) -> Iterator[int]:
    """Frames with their true masks, to fine-tune a network with; yields each frame's number.

    A folder with ``frame_0007.tif``, ``median_0007.tif`` (if the scan has one),
    ``mask_0007.tif`` (uint8: 255 spot, 0 not), ``ignore_0007.tif`` (255 where nobody decided)
    and ``pairs.json``, which lists them and holds the recipe.

    Parameters
    ----------
    folder : path
        Made if needed.
    pairs : iterable of (index, frame, median or None, mask, ignore)
    recipe : dict
    """
    folder = make_folder(folder)
    listed: list[dict[str, Any]] = []

    def write_list() -> None:
        text = json.dumps({"format": PAIRS_FORMAT, "recipe": recipe, "pairs": listed})
        write_atomically(folder / "pairs.json", text)

    write_list()  # first, so that images without it are somebody else's
    for index, frame, median, mask, ignore in pairs:
        entry: dict[str, Any] = {"index": int(index)}
        for name, image in (
            ("frame", frame),
            ("median", median),
            ("mask", np.asarray(mask, bool) * np.uint8(255)),
            ("ignore", np.asarray(ignore, bool) * np.uint8(255)),
        ):
            if image is not None:
                entry[name] = f"{name}_{index:04d}.tif"
                write_frames(folder / entry[name], [image])
        listed.append(entry)
        write_list()
        yield int(index)


_ENTRY = {"index": int, "frame?": str, "mask?": str, "median?": str, "ignore?": str}


def read_training_pairs(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The pairs that `write_training_pairs` wrote, one dict of arrays each (and ``index``).

    Raises
    ------
    ScanError
        The folder holds none.
    """
    folder = Path(folder)
    if not (folder / "pairs.json").exists() and (folder / "train" / "pairs.json").exists():
        folder = folder / "train"  # of a training set; its validation pairs are kept apart
    try:
        entries = check(load_json(folder / "pairs.json"), {"pairs": [_ENTRY]})["pairs"]
    except (OSError, ValueError) as error:
        raise ScanError(
            f"{folder} holds no training pairs (no usable pairs.json: {reason(error)})."
        ) from error
    for entry in entries:
        names = [n for n in ("frame", "median", "mask", "ignore") if n in entry]
        for name in names:
            if Path(entry[name]).name != entry[name]:
                raise ScanError(
                    f"{folder / 'pairs.json'} names {quoted(entry[name])}, which is not beside it; "
                    "save the pairs again."
                )
            if not (folder / entry[name]).is_file():
                raise ScanError(
                    f"{folder} lacks {quoted(entry[name])}, which its pairs.json names; save the "
                    "pairs again."
                )
        images = {n: TiffFrames([folder / entry[n]])[0] for n in names}
        yield {"index": entry["index"], **images}
