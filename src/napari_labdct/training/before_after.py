"""What a fine-tuning changed: numbers of both models on held-out crops, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..background.rolling_median import RollingMedian
from ..core.files import atomic, write_atomically
from ..evaluation.figures import contrast
from ..networks.spot_width import scan_binning
from .crops.synthesis import Crop
from .validation import validate

if TYPE_CHECKING:
    from ..networks.model import Model
    from ..scan.scan import Scan

SHOWN_PX = 384  # side of the part of a real projection that is shown
SHOWN_CROPS = 2

Row = tuple[str, list[tuple[str, np.ndarray]]]


def compare(before: Model, after: Model, crops: list[Crop]) -> dict[str, Any]:
    """Numbers of `validate` of both models, each at its own threshold."""
    return {
        when: validate(model, crops, thresholds=(model.threshold,))
        for when, model in (("before", before), ("after", after))
    }


def verdict(numbers: dict[str, Any]) -> str:
    """One honest sentence."""
    f1 = [numbers[when]["f1"] for when in ("before", "after")]
    gain = f1[1] - f1[0]
    words = "better" if gain > 0.002 else "no better" if gain >= -0.002 else "worse"
    return (
        f"On {numbers['before']['crops']} crops it did not learn from the fine-tuned model is "
        f"{words}: F1 {f1[0]:.3f} before, {f1[1]:.3f} after."
    )


def crop_rows(before: Model, after: Model, crops: list[Crop]) -> list[Row]:
    """Pictures of the crops with most spots: frame, before, after, truth."""
    shown = sorted(crops, key=lambda c: -len(np.unique(c.labels)))[:SHOWN_CROPS]
    return [
        (
            f"crop {number + 1}",
            [
                ("frame", crop.frame),
                ("before", before(crop.frame, crop.median)),
                ("after", after(crop.frame, crop.median)),
                ("truth", (crop.labels > 0).astype(np.float32)),
            ],
        )
        for number, crop in enumerate(shown)
    ]


def scan_row(before: Model, after: Model, scan: Scan) -> Row:
    """Pictures of the busiest part of the middle projection: frame, before, after."""
    index = scan.n_frames // 2
    frame = np.asarray(scan.frame(index))
    median = RollingMedian(scan, before.median_window).at(index)
    binning = scan_binning(scan)[0]
    outputs = [model(frame, median, binning) for model in (before, after)]
    size = [min(SHOWN_PX, n) for n in frame.shape]
    corners = [
        (row, col)
        for row in range(0, frame.shape[0] - size[0] + 1, max(size[0] // 2, 1))
        for col in range(0, frame.shape[1] - size[1] + 1, max(size[1] // 2, 1))
    ]

    def part(image: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        return image[tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))]

    best = max(corners, key=lambda c: float(sum(part(o, c).sum() for o in outputs)))
    pictures = [part(image, best) for image in (frame, *outputs)]
    names = ("projection", "before", "after")
    return f"projection {index}", list(zip(names, pictures, strict=True))


def write_picture(path: Path, rows: list[Row]) -> None:
    """Rows of pictures as one PNG; outputs and truth from 0 to 1.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(pictures) for _, pictures in rows)
    figure = Figure((3.2 * columns, 3.4 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, pictures) in zip(
        figure.subplots(len(rows), columns, squeeze=False), rows, strict=True
    ):
        for axis in axes:
            axis.set_axis_off()
        for axis, (name, image) in zip(axes, pictures, strict=False):
            counts = name in ("frame", "projection")
            low, high = contrast(image) if counts else (0, 1)
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.set_title(title if counts else name, fontsize=9)
    with atomic(path) as part:
        figure.savefig(part, dpi=100, format="png")


def write_numbers(path: Path, numbers: dict[str, Any]) -> None:
    """The numbers as JSON."""
    write_atomically(path, json.dumps(numbers, indent=1) + "\n")
