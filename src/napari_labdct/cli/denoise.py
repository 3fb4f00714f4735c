"""``labdct denoise SCAN -o DENOISED.tif``: clean a scan, cut it into spots, measure them."""

from __future__ import annotations

import argparse

from ..core.outputs import held
from ..core.parameters import add_arguments, from_namespace
from ..networks.denoising import Denoiser, DenoiseSettings, output_shape
from ..spots.binarisation import SpotSettings
from .common import (
    add_scan,
    add_spots,
    check_spots,
    claim_spots,
    open_given,
    run_job,
    write_spots,
)


def add_command(parser: argparse.ArgumentParser) -> None:
    add_scan(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="DENOISED.tif", help="output: the network result"
    )
    add_arguments(parser, DenoiseSettings)
    add_spots(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    settings = from_namespace(DenoiseSettings, given)
    from_namespace(SpotSettings, given)  # refused before the model is loaded, not after
    scan = open_given(given)
    check_spots(given, scan, (scan.n_frames, *output_shape(scan.shape, settings.output_px)))
    denoiser = Denoiser(scan, settings)
    if given.threshold is None:
        given.threshold = denoiser.model.threshold
    cut = from_namespace(SpotSettings, given)
    claim_spots(given, denoiser.recipe(), cut)
    with held(given.write_mask, given.table):
        write_spots(given, scan, run_job(denoiser, given), cut)
