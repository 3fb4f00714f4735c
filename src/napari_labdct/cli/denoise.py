"""``labdct denoise SCAN -o CLEANED.tif``: clean a scan, cut it into spots, measure them."""

from __future__ import annotations

import argparse

from ..denoising import Denoiser, DenoiseSettings
from ..errors import SettingsError
from ..parameters import add_arguments, from_namespace
from ..spots import SpotSettings
from .common import add_scan, open_given, show_progress, write_spots


def add_command(commands) -> None:
    parser = commands.add_parser("denoise", help="clean a scan with a trained network")
    add_scan(parser)
    parser.add_argument("-o", "--output", required=True, metavar="CLEANED.tif")
    parser.add_argument("--spots", metavar="MASK.tif", help="also write the binary stack")
    parser.add_argument("--table", metavar="SPOTS.csv", help="also measure every spot")
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, DenoiseSettings)
    add_arguments(parser, SpotSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    settings = from_namespace(DenoiseSettings, given)
    if given.table and settings.output_px:
        raise SettingsError("Spots are measured at full size; leave out --output-px or --table.")
    scan = open_given(given)
    denoiser = Denoiser(scan, settings)
    if given.threshold is None:
        given.threshold = denoiser.model.threshold
    cut = from_namespace(SpotSettings, given)
    store = denoiser.open_store(given.output, overwrite=given.overwrite)
    show_progress(denoiser.run(store), "denoise")
    print(store.path)
    write_spots(given, scan, store, cut)
