"""``labdct compare A B --scan SCAN -o FOLDER``: two segmentations, numbers and pictures."""

from __future__ import annotations

import argparse
import sys

from ..background.rolling_median import SPOT_WINDOW
from ..core.jobs import Progress
from ..core.parameters import add_arguments
from ..evaluation import report
from ..evaluation.comparison import Comparison, open_segmentation, read_numbers
from ..spots.binarisation import SpotSettings
from .common import (
    EITHER,
    MASK,
    OWN_THRESHOLD,
    add_scan_option,
    check_stack,
    cut_of,
    show_progress,
    warn_implausible,
    window,
)


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "A and B are masks (non-zero is spot) or network results of "
        "'labdct denoise', which are cut at the threshold given here or else at their model's own."
    )
    parser.add_argument("a", metavar="A", help="input: a TIFF stack, or a folder of TIFFs")
    parser.add_argument("b", metavar="B", help="input: the one to compare it with")
    add_scan_option(parser, "input: the projections", required=True)
    parser.add_argument("--truth", metavar="TRUTH", help="input: true spots, a mask or labels")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: the report and its tables"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another result")
    parser.add_argument(
        "--median-window",
        type=window,
        default=SPOT_WINDOW,
        metavar="N",
        help="background of the spots' SNR",
    )
    add_arguments(parser, SpotSettings, defaults=OWN_THRESHOLD)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..io import open_scan

    scan = warn_implausible(open_scan(given.scan))
    a, b = (open_segmentation(path, cut_of(path, given)) for path in (given.a, given.b))
    truth = None if given.truth is None else open_segmentation(given.truth)
    for path, one in ((given.a, a), (given.b, b)):
        check_stack(path, one.masks, scan, EITHER, coarse=True)
    if truth is not None:
        check_stack(given.truth, truth.masks, scan, MASK)
    how = {"median_window": given.median_window, "overwrite": given.overwrite}
    output = report.report_folder(given.output, scan, a, b, truth, **how)
    if output.finished:
        print(f"{given.output} holds this comparison already.", file=sys.stderr)
        with output.held():
            numbers = read_numbers(output.path / "summary.csv")
    else:
        numbers = _compare(given.output, scan, a, b, truth, **how)
    for name, value in numbers.items():
        print(f"{name}: {value:.6g}")
    print(f"{given.output}/report.html")


def _compare(*what, **how) -> dict[str, float]:
    results: list[Comparison] = []

    def steps():
        for step in report.run(*what, **how):
            if isinstance(step, Progress):
                yield step
            else:
                results.append(step)

    show_progress(steps(), "compare")
    return results[0].numbers()
