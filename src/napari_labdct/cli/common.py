"""What the commands share: the SCAN argument and the progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import SettingsError
from ..core.frame_store import FrameStore, spare_inputs
from ..core.jobs import DENOISED as CLEANED
from ..core.jobs import MASK, FrameJob, Progress
from ..core.parameters import add_arguments, from_namespace
from ..core.recipes import recipe_beside
from ..scan.scan import Scan
from ..spots.binarisation import BinaryFrames, SpotSettings, binary_recipe
from ..spots.detections import Detections
from ..spots.stacks import EITHER, check_stack, open_mask

__all__ = ["CLEANED", "EITHER", "MASK", "check_stack", "open_mask"]  # passed on to commands

#: The flag that asks for a mask, in every command that can write one.
WRITE_MASK = "--write-mask"

#: For the help: commands that know the model take its threshold.
OWN_THRESHOLD = {"threshold": "the model's own"}


def add_scan(parser: argparse.ArgumentParser) -> None:
    """The positional SCAN argument, read by `open_given`."""
    parser.add_argument(
        "scan",
        nargs="+",
        metavar="SCAN",
        help="a file (docs/formats.md), several, a folder, or a scan.yaml",
    )


def window(text: str) -> int:
    """The projections of a rolling median, for argparse."""
    count = int(text)
    if not 3 <= count <= 361:
        raise argparse.ArgumentTypeError(f"{count} is not 3 to 361 projections")
    return count


def open_given(given: argparse.Namespace, notes: bool = True) -> Scan:
    """The scan that the SCAN argument names; what is hardly meant in it is said.

    So is what its files tell, such as a missing one, unless `notes` is False.
    """
    from ..io import open_scan

    scan = warn_implausible(open_scan(given.scan))
    for note in scan.notes if notes else ():
        print(f"Note: {note}", file=sys.stderr)
    return scan


def warn_implausible(scan: Scan) -> Scan:
    """Say on standard error which values of a scan can hardly be meant."""
    from ..scan.plausibility import implausible

    for sentence in implausible(scan).values():
        print(f"Warning: {sentence}", file=sys.stderr)
    return scan


def add_scan_option(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    """``--scan``, one value each time, so that it never swallows the arguments behind it."""
    parser.add_argument(
        "--scan", action="append", required=required, metavar="SCAN",
        help=f"{help}: a TIFF, a folder, or a scan.yaml; repeat it for several TIFFs",
    )  # fmt: skip


def cut_of(cleaned: str, given: argparse.Namespace) -> SpotSettings:
    """How to cut a cleaned stack: as the flags say, else at its own model's threshold."""
    model = recipe_beside(cleaned).get("model", {})
    if given.threshold is None and "threshold" in model:
        return from_namespace(SpotSettings, given).replace(threshold=model["threshold"])
    return from_namespace(SpotSettings, given)


def show_progress(steps: Iterator[Progress], what: str, unit: str = "projection") -> None:
    """Run a job to its end under a progress bar on standard error."""
    from tqdm import tqdm

    bar = None
    try:
        for step in steps:
            if step.message:
                tqdm.write(step.message, file=sys.stderr)
            if bar is None:
                bar = tqdm(total=step.total, initial=step.done, desc=what, unit=unit)
            elif step.total != bar.total or step.done < bar.n:  # a job of two parts
                bar.reset(step.total)
                bar.initial = bar.n = bar.last_print_n = step.done  # the rate counts new work only
                bar.refresh()
            bar.update(step.done - bar.n)
    finally:
        steps.close()
        if bar is not None:
            bar.close()


def show_thousandths(steps: Iterator[Progress]) -> None:
    """Run a job whose steps count thousandths to its end, its message behind the bar."""
    from tqdm import tqdm

    with tqdm(total=1000, bar_format="{l_bar}{bar}| {desc}") as bar:
        try:
            for step in steps:
                bar.set_description_str(step.message, refresh=False)
                bar.update(step.done - bar.n)
        finally:
            steps.close()


def run_job(job: FrameJob, given: argparse.Namespace) -> FrameStore:
    """Run a job into ``--output``, begun or gone on with, and print where the result is."""
    store = job.open_store(given.output, overwrite=given.overwrite)
    show_progress(job.run(store), job.name)
    print(store.path)
    return store


def add_spots(parser: argparse.ArgumentParser) -> None:
    """What `write_spots` reads, for a command whose output is a cleaned stack."""
    parser.add_argument(
        WRITE_MASK, metavar="MASK.tif", help="output: the mask as well, 8-bit, 0 and 255"
    )
    parser.add_argument("--spots", dest="write_mask", help=argparse.SUPPRESS)  # its earlier name
    parser.add_argument(
        "--table", metavar="SPOTS.csv", help="output: the table as well, every spot measured"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, SpotSettings, defaults=OWN_THRESHOLD)


def check_spots(
    given: argparse.Namespace, scan: Scan, shape: tuple[int, int, int], *inputs: str
) -> None:
    """Refuse what `write_spots` could not do, before the work begins.

    Parameters
    ----------
    given : Namespace
    scan : Scan
    shape : (n, rows, cols)
        Of the cleaned stack.
    *inputs : str
        Files that the command reads besides the scan.

    Raises
    ------
    SettingsError
        Spots are measured on the projections, so not at another size; or a name is no TIFF or CSV.
    OutputError
        A result would replace an input or another result.
    """
    spare_inputs([given.output, given.write_mask, given.table], scan, *inputs)
    for name, endings in ((given.write_mask, (".tif", ".tiff")), (given.table, (".csv",))):
        if name and Path(name).suffix.lower() not in endings:
            raise SettingsError(f"{name} must end in {endings[0]}; give such a name.")
    if given.table and shape[1:] != scan.shape:
        raise SettingsError(
            "Spots are measured at full size; denoise without --output-px or leave out --table."
        )


def claim_spots(given: argparse.Namespace, made: dict[str, Any], cut: SpotSettings) -> None:
    """Refuse to replace what `write_spots` did not write with the same settings."""
    from ..io.spot_tables import claim

    for path, recipe in zip((given.write_mask, given.table), _recipes(made, cut)):
        claim(path, recipe, given.overwrite)


def _recipes(made: dict[str, Any], cut: SpotSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the masks and of the table."""
    binary = binary_recipe(made, cut)
    return binary, {**binary, "job": "spots"}


def write_spots(given: argparse.Namespace, scan: Scan, cleaned, cut: SpotSettings) -> None:
    """What ``--write-mask`` and ``--table`` ask for, cut out of a cleaned stack."""
    from tqdm import tqdm

    from ..io import write_frames, write_spot_csv
    from ..io.spot_tables import described
    from ..review.export import measure_reviewed
    from ..review.review import Review

    masks = BinaryFrames(cleaned, cut)
    of_masks, of_table = _recipes(cleaned.recipe, cut)
    if given.write_mask:
        frames = tqdm((masks.read(i) for i in range(len(masks))), "binarise", len(masks))
        with described(given.write_mask, of_masks):
            print(write_frames(given.write_mask, frames, orientation=scan.orientation))
    if given.table:
        detections = Detections(masks, cleaned=cleaned)
        measured = measure_reviewed(scan, detections, Review(detections.shape))
        with described(given.table, of_table):
            print(write_spot_csv(given.table, tqdm(measured, "measure", scan.n_frames)))
