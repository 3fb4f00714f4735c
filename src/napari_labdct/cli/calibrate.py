"""``labdct calibrate SCAN --spots MASK.tif``: the geometry of a scan from its own spots."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.errors import OutputError
from ..core.parameters import add_arguments, from_namespace
from ..grains.calibration import Calibration, CalibrationSettings
from .common import add_scan, open_given, open_mask, show_thousandths


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find distances, detector centre, tilts and the direction of rotation from the spots of "
        "the scan's own grains, beginning with what the scan says; print them, and what the spots "
        "cannot tell. Nothing is written without --write."
    )
    add_scan(parser)
    parser.add_argument(
        "--spots", required=True, metavar="MASK.tif", help="input: the mask of the same projections"
    )
    parser.add_argument("--material", help="element symbol or CIF file; the scan's if not given")
    parser.add_argument(
        "--write", action="store_true",
        help="write what was found into scan.yaml; the old one is kept as scan.yaml.old",
    )  # fmt: skip
    add_arguments(parser, CalibrationSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..grains.calibration import GeometryCalibration

    settings = from_namespace(CalibrationSettings, given)
    scan = open_given(given)
    described = _description_of(given.scan)
    if given.write and described is None:
        raise OutputError(
            f"There is no scan.yaml beside {given.scan[0]} to write into; save one first (Scan "
            "dock), or leave out --write."
        )
    job = GeometryCalibration(scan, open_mask(given.spots, scan), settings, given.material)
    show_thousandths(job.run())
    print(job.result.report())
    if given.write:
        print(f"{described} is written; {_write(described, job.result).name} is what it was.")


def _description_of(names: list[str]) -> Path | None:
    """The scan.yaml of the SCAN argument."""
    from ..io.scan_yaml import description_file

    path = Path(names[0]).expanduser()
    if path.suffix.lower() in (".yaml", ".yml"):
        return path
    return description_file(path if path.is_dir() else path.absolute().parent)


def _write(path: Path, found: Calibration) -> Path:
    """Change what was found in a scan.yaml, and keep the old file."""
    from ..io.scan_yaml import update_scan_yaml

    return update_scan_yaml(path, found.scan_yaml())
