"""``labdct spots SCAN --denoised DENOISED.tif -o SPOTS.csv``: measure every spot and export."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..background.rolling_median import SPOT_WINDOW
from ..core.errors import OutputError, SettingsError, quoted
from ..core.frame_store import spare_inputs
from ..core.outputs import held
from ..core.parameters import add_arguments, add_earlier_flag
from ..spots.binarisation import BinaryFrames, SpotSettings, binarised
from .common import (
    CLEANED,
    MASK,
    OWN_THRESHOLD,
    WRITE_MASK,
    add_scan,
    check_stack,
    cut_of,
    open_given,
    window,
)

_TABLES = (".csv", ".parquet", ".h5", ".hdf5", ".json", ".flt")
_LONGEST_STACK_PX = 32_768

KEEP = {"all": (0, 1, 2), "not-rejected": (0, 1), "accepted": (1,)}


def add_command(parser: argparse.ArgumentParser) -> None:
    add_scan(parser)
    found = parser.add_argument_group("where the spots come from (inputs)")
    found.add_argument(
        "--denoised", metavar="DENOISED.tif",
        help="input: the network result of 'labdct denoise' or 'track'",
    )  # fmt: skip
    add_earlier_flag(found, "--cleaned", "--denoised")
    found.add_argument("--mask", metavar="MASK.tif", help="input: a mask or labels")
    found.add_argument("--routine", metavar="MASK.tif", help="input: of 'labdct routine'")
    found.add_argument("--review", metavar="FILE", help="input: of the Review dock")
    found.add_argument(
        "--keep", choices=sorted(KEEP), default="not-rejected", help="by the status in the review"
    )
    found.add_argument("--where", default="", metavar="TEXT", help="for example 'snr > 5'")
    made = parser.add_argument_group("what is written, each with its recipe (outputs)")
    made.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="SPOTS.csv",
        help="output: the table, .csv, .parquet, .h5 (with labels), .json (COCO) or .flt "
        "(ImageD11); repeatable",
    )
    made.add_argument(WRITE_MASK, metavar="MASK.tif", help="output: the mask, 8-bit, 0 and 255")
    made.add_argument("--binary", dest="write_mask", help=argparse.SUPPRESS)  # its earlier name
    made.add_argument(
        "--labels", metavar="LABELS.tif", help="output: 16-bit labels, the spots' ids"
    )
    made.add_argument("--stack-px", type=int, metavar="N", help="longer edge of these stacks")
    made.add_argument(
        "--pairs", metavar="FOLDER", help="output: reviewed projections, for fine-tuning"
    )
    made.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, SpotSettings, defaults=OWN_THRESHOLD)
    parser.add_argument(
        "--median-window",
        type=window,
        default=SPOT_WINDOW,
        help="projections of the rolling median (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..io.label_stacks import read_labels
    from ..review.review import Review, ReviewedFrames
    from ..spots.detections import Detections

    _check(given)
    scan = open_given(given)
    cleaned = network = None
    if given.denoised:
        cleaned = read_labels(given.denoised)
        check_stack(given.denoised, cleaned, scan, CLEANED)
        network = BinaryFrames(cleaned, cut_of(given.denoised, given))
    elif given.mask:
        network = read_labels(given.mask)
        check_stack(given.mask, network, scan, MASK)
    routine = read_labels(given.routine) if given.routine else None
    if routine is not None:
        check_stack(given.routine, routine, scan, MASK)
    detections = Detections(network, routine, cleaned)
    detections.check(scan)
    inputs = (given.denoised, given.mask, given.routine, given.review)
    spare_inputs([*given.output, given.write_mask, given.labels], scan, *inputs)
    review = Review(detections.shape)
    if given.review:
        if not Path(given.review).exists():
            raise OutputError(f"There is no review {given.review}; check the name.")
        review = Review(detections.shape, given.review)
        _check_review(given, scan, detections, review)
    kept = ReviewedFrames(detections, review, KEEP[given.keep])
    listed = given.pairs and Path(given.pairs) / "pairs.json"
    with held(*given.output, given.write_mask, given.labels, listed):
        _write(given, scan, detections, review, kept)


def _check_review(given: argparse.Namespace, scan, detections, review) -> None:
    """Refuse the review of another scan, or of spots that were cut otherwise: ids are labels."""
    made, known = review.about.get("input", {}).get("id"), review.about.get("spots", {})
    if made and made != scan.identity():
        raise SettingsError(f"{given.review} is the review of another scan; choose its own.")
    here = detections.about()
    for name in ("network", "routine") if known else ():
        mine, theirs = (spots.get(name) for spots in (here, known))
        if (mine is None) != (theirs is None):
            how = "without" if theirs is None else "also by"
            raise SettingsError(
                f"{given.review} reviews spots found {how} the {name}; give the same masks."
            )
        cuts = [binarised(entry) for entry in (mine, theirs) if entry is not None]
        if cuts and None not in cuts and cuts[0] != cuts[1]:
            words = ", ".join(f"{k} {v}" for k, v in cuts[1].items())
            raise SettingsError(
                f"The spots of {given.review} were cut otherwise ({words}); give the same "
                "--threshold and --min-size-px."
            )


def _check(given: argparse.Namespace) -> None:
    from ..review.review import REVIEW_DTYPE
    from ..review.selection import where

    if not (given.denoised or given.mask or given.routine):
        raise SettingsError("Say where the spots are: --denoised, --mask or --routine.")
    if given.denoised and given.mask:
        raise SettingsError("Give either --denoised or --mask.")
    if given.stack_px is not None and not 16 <= given.stack_px <= _LONGEST_STACK_PX:
        raise SettingsError(
            f"--stack-px is {quoted(given.stack_px)}; it must be at least 16 and at most "
            f"{_LONGEST_STACK_PX}."
        )
    if not (given.output or given.write_mask or given.labels or given.pairs):
        raise SettingsError("Say what to write: -o, --write-mask, --labels or --pairs.")
    where(np.zeros(0, REVIEW_DTYPE), given.where)  # refused before the spots are measured
    for name in given.output:
        if Path(name).suffix.lower() not in _TABLES:
            raise SettingsError(f"{name} must end in .csv, .parquet, .h5, .json or .flt.")


def _write(given: argparse.Namespace, scan, detections, review, kept) -> None:
    from tqdm import tqdm

    from ..io.spot_tables import claim, claim_pairs
    from ..review.export import (
        export_stack,
        export_table,
        frame_names,
        measure_reviewed,
        spots_recipe,
    )
    from ..review.selection import where

    recipe = spots_recipe(
        scan, detections, review, given.median_window, keep=given.keep, where=given.where
    )
    recipes = {
        name: claim(name, recipe, given.overwrite)
        for name in (*given.output, given.write_mask, given.labels)
    }
    of_pairs = claim_pairs(given.pairs, recipe, given.overwrite)

    def over(frames: Iterator, what: str) -> Iterator:
        return tqdm(frames, what, scan.n_frames)

    table = None
    if given.output or given.where:
        tables = measure_reviewed(scan, detections, review, given.median_window)
        table = np.concatenate(list(over(tables, "measure")))
        table = table[np.isin(table["status"], KEEP[given.keep]) & where(table, given.where)]
        for name in given.output:
            print(export_table(name, table, recipes[name], kept, frame_names(scan)))
    for name, binary in ((given.write_mask, True), (given.labels, False)):
        if name:
            frames = over(iter(range(scan.n_frames)), "binary" if binary else "labels")
            print(
                export_stack(
                    name, kept, recipes[name], binary=binary, longest_px=given.stack_px,
                    order=frames, orientation=scan.orientation,
                    table=table if given.where else None,
                )
            )  # fmt: skip
    if given.pairs:
        from ..io.training_pairs import write_training_pairs
        from ..review.review import training_pairs
        from ..spots.measurement import FrameMeasurer

        measurer = FrameMeasurer(scan, given.median_window)
        pairs = training_pairs(measurer, detections, review)
        count = sum(1 for _ in write_training_pairs(given.pairs, pairs, of_pairs))
        print(f"{given.pairs}: {count} pairs")
