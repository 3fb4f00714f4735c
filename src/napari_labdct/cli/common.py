"""What the commands share: the SCAN argument and the progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from ..errors import SettingsError
from ..jobs import Progress, recipe_beside
from ..parameters import add_arguments, from_namespace
from ..scan import Scan
from ..spots import BinaryFrames, SpotSettings, measure_stack


def add_scan(parser: argparse.ArgumentParser) -> None:
    """The positional SCAN argument, read by `open_given`."""
    parser.add_argument(
        "scan", nargs="+", metavar="SCAN", help="a TIFF, several, a folder, or a scan.yaml"
    )


def open_given(given: argparse.Namespace) -> Scan:
    """The scan that the SCAN argument names."""
    from ..io import open_scan

    return open_scan(given.scan)


def cut_of(cleaned: str, given: argparse.Namespace) -> SpotSettings:
    """How to cut a cleaned stack: as the flags say, else at its own model's threshold."""
    model = recipe_beside(cleaned).get("model", {})
    if given.threshold is None and "threshold" in model:
        return from_namespace(SpotSettings, given).replace(threshold=model["threshold"])
    return from_namespace(SpotSettings, given)


def show_progress(steps: Iterator[Progress], what: str, unit: str = "frame") -> None:
    """Run a job to its end under a progress bar on standard error."""
    from tqdm import tqdm

    bar = None
    try:
        for step in steps:
            if step.message:
                tqdm.write(step.message, file=sys.stderr)
            if bar is None:
                bar = tqdm(total=step.total, initial=step.done, desc=what, unit=unit)
            elif step.total != bar.total:  # a job of two parts
                bar.reset(step.total)
            bar.update(step.done - bar.n)
    finally:
        steps.close()
        if bar is not None:
            bar.close()


def add_spots(parser: argparse.ArgumentParser) -> None:
    """What `write_spots` reads, for a command whose output is a cleaned stack."""
    parser.add_argument("--spots", metavar="MASK.tif", help="also write the binary stack")
    parser.add_argument("--table", metavar="SPOTS.csv", help="also measure every spot")
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, SpotSettings)


def check_table(given: argparse.Namespace, scan: Scan, shape: tuple[int, int, int]) -> None:
    """Refuse ``--table`` for a coarser stack, before the work begins.

    Raises
    ------
    SettingsError
        Spots are measured on the projections.
    """
    if given.table and shape[1:] != scan.shape:
        raise SettingsError(
            "Spots are measured at full size; denoise without --output-px or leave out --table."
        )


def write_spots(given: argparse.Namespace, scan: Scan, cleaned, cut: SpotSettings) -> None:
    """What ``--spots`` and ``--table`` ask for, cut out of a cleaned stack."""
    from tqdm import tqdm

    from ..io import write_frames, write_spot_csv

    masks = BinaryFrames(cleaned, cut)
    if given.spots:
        frames = tqdm((masks.read(i) for i in range(len(masks))), "binarise", len(masks))
        print(write_frames(given.spots, frames, orientation=scan.orientation))
    if given.table:
        tables = tqdm(measure_stack(scan, masks), "measure", scan.n_frames)
        print(write_spot_csv(given.table, tables))
