"""``labdct background SCAN -o SET.h5``: the background of a scan, for training and simulation."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.errors import OutputError
from ..core.frame_store import spare_inputs
from ..core.parameters import add_arguments, from_namespace
from .common import add_scan, open_given, show_progress


def add_command(parser: argparse.ArgumentParser) -> None:
    from ..background import ExtractionSettings

    add_scan(parser)
    parser.add_argument("-o", "--output", required=True, metavar="SET.h5", help="output: the set")
    parser.add_argument("--name", default="", help="name of the set (default: the scan's)")
    parser.add_argument(
        "--frames",
        metavar="IBG.tif",
        help="output: the background I_BG of every projection as well, 0 to 1",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, ExtractionSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..background import ExtractionSettings, Measurement
    from ..background.sets import is_there

    settings = from_namespace(ExtractionSettings, given)
    output = Path(given.output).expanduser()
    # Said before the work, not after it.
    if output.suffix.lower() not in (".h5", ".hdf5"):
        raise OutputError(f"{output.name} must end in .h5; give such a name.")
    scan = open_given(given)
    spare_inputs([output, given.frames], scan)
    measurement = Measurement(scan, settings, called=given.name)
    is_there(output, measurement, given.name, given.overwrite)  # refused before files are made
    if given.frames:
        frames = measurement.extraction
        measurement.store = frames.open_store(given.frames, overwrite=given.overwrite)
    show_progress(measurement.make(output, overwrite=given.overwrite), "background")
    print(output.absolute())
    if measurement.store is not None:
        print(measurement.store.path)
