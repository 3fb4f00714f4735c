"""``labdct background SCAN -o SET.h5``: the background of a scan, for training and simulation."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.errors import OutputError
from ..core.frame_store import spare_inputs
from ..core.parameters import add_arguments, from_namespace
from .common import add_scan, open_given, show_progress


def add_command(commands) -> None:
    from ..background import ExtractionSettings

    parser = commands.add_parser("background", help="extract the background of a scan")
    add_scan(parser)
    parser.add_argument("-o", "--output", required=True, metavar="SET.h5")
    parser.add_argument("--name", default="", help="name of the set (default: the scan's)")
    parser.add_argument(
        "--frames", metavar="IBG.tif", help="write I_BG of every projection too, 0 to 1"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, ExtractionSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..background import ExtractionSettings, Measurement

    settings = from_namespace(ExtractionSettings, given)
    output = Path(given.output).expanduser()
    # Said before the work, not after it.
    if output.suffix.lower() not in (".h5", ".hdf5"):
        raise OutputError(f"{output.name} must end in .h5; give such a name.")
    if output.exists() and not given.overwrite:
        raise OutputError(f"{output} exists; choose another name or add --overwrite.")
    scan = open_given(given)
    spare_inputs([output, given.frames], scan)
    measurement = Measurement(scan, settings)
    if given.frames:
        frames = measurement.extraction
        measurement.store = frames.open_store(given.frames, overwrite=given.overwrite)
    show_progress(measurement.run(), "background")
    made = measurement.result(given.name)
    print(made.save(output, overwrite=given.overwrite))
    if measurement.store is not None:
        print(measurement.store.path)
