"""``labdct track SCAN --denoised DENOISED.tif -o TRACKED.tif``: believe weak spots that go on."""

from __future__ import annotations

import argparse

from ..core.frame_store import spare_inputs
from ..core.outputs import held
from ..core.parameters import add_arguments, add_earlier_flag, from_namespace
from ..core.recipes import recipe_beside
from ..spots.tracking import Tracker, TrackSettings
from .common import (
    CLEANED,
    add_scan,
    add_spots,
    check_spots,
    check_stack,
    claim_spots,
    cut_of,
    open_given,
    run_job,
    write_spots,
)


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "A reflection goes on over the detector as the sample turns. Where it goes "
        "follows from the angles and distances of the scan; a weak spot that is seen again there "
        "becomes surer, one that is not becomes less so."
    )
    add_scan(parser)
    denoised = parser.add_argument(
        "--denoised", required=True, metavar="DENOISED.tif",
        help="input: the network result of 'labdct denoise'",
    )  # fmt: skip
    add_earlier_flag(parser, "--cleaned", "--denoised", instead_of=denoised)
    parser.add_argument(
        "-o", "--output", required=True, metavar="TRACKED.tif", help="output: the tracked stack"
    )
    add_arguments(parser, TrackSettings)
    add_spots(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..io import open_scan

    scan, made = open_given(given), recipe_beside(given.denoised)
    spare_inputs([given.output], scan, given.denoised)
    cut = cut_of(given.denoised, given)
    settings = from_namespace(TrackSettings, given)
    cleaned = open_scan(given.denoised).frames
    if made.get("input", {}).get("id") in (None, scan.identity()):  # else the tracker says it
        check_stack(given.denoised, cleaned, scan, CLEANED, coarse=True)
    tracker = Tracker(scan, cleaned, settings, made)
    check_spots(given, scan, tracker.cleaned.shape, given.denoised)
    claim_spots(given, tracker.recipe(), cut)
    with held(given.write_mask, given.table):
        write_spots(given, scan, run_job(tracker, given), cut)
