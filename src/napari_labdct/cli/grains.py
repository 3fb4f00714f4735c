"""``labdct grains SCAN --spots MASK.tif -o GRAINS.h5``: from binary spots to a grain map."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..core.errors import OutputError
from ..core.frame_store import spare_inputs
from ..core.parameters import add_arguments, from_namespace
from ..grains.settings import GrainSettings
from .common import add_scan, open_given, open_mask, show_thousandths


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find the grains whose reflections the spots are: a map in GrainMapper3D's HDF5 layout "
        "with a table (CSV) beside it, or only the table in the far field. The same command goes "
        "on where it was stopped."
    )
    add_scan(parser)
    parser.add_argument(
        "--spots", required=True, metavar="MASK.tif", help="input: the mask of the same projections"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="GRAINS.h5", help="output: the map"
    )
    parser.add_argument("--material", help="element symbol or CIF file; the scan's if not given")
    parser.add_argument(
        "--calibrate", action="store_true",
        help="find the geometry from the spots first, as 'labdct calibrate' does",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace another result")
    add_arguments(parser, GrainSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..grains.mapping import GrainMapping, file_id

    output = Path(given.output).expanduser()
    settings = from_namespace(GrainSettings, given)
    if output.suffix.lower() not in (".h5", ".hdf5"):
        raise OutputError(f"{output.name} must end in .h5; give such a name.")
    scan = open_given(given)
    table = output.with_suffix(".csv")
    spare_inputs([output, table], scan, given.spots, settings.mask)
    spots = open_mask(given.spots, scan)
    material = given.material
    if given.calibrate:
        scan, material = _calibrated(scan, spots, settings, material)
    job = GrainMapping(scan, spots, settings, material, file_id(given.spots))
    show_thousandths(job.make(output, overwrite=given.overwrite))
    if job.result is None:
        print(f"{output} holds this result already.", file=sys.stderr)
    for path in job.files(output):
        print(path)
    if job.result is not None and job.result.doubtful:
        print(f"{job.result.doubtful} doubtful grains were left out.")
    if job.result is not None and job.result.doubt:
        print(job.result.doubt)


def _calibrated(scan, spots, settings: GrainSettings, material):
    """The scan with the geometry that its spots tell, and the material."""
    from ..grains.calibration import CalibrationSettings, GeometryCalibration

    how = CalibrationSettings(
        families=settings.families, energy_min_kev=settings.energy_min_kev,
        energy_max_kev=settings.energy_max_kev, threads=settings.threads,
    )  # fmt: skip
    job = GeometryCalibration(scan, spots, how, material)
    show_thousandths(job.run())
    print(job.result.report())
    return job.result.scan, job.result.material
