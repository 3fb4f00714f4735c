"""``labdct refine SCAN --spots MASK.tif --grains grains.h5 -o FOLDER``: spots guided by grains."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..core.errors import ScanError
from ..core.files import make_folder
from ..core.frame_store import spare_inputs
from ..core.outputs import held
from ..core.parameters import add_arguments, from_namespace
from ..grains.guided import GuidedSpots, RefineSettings
from .common import add_scan, open_given, open_mask, show_progress


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Where the grains are known, so is the place of every spot: weak ones are believed there, "
        "merged ones are cut between their grains, and what no grain explains is listed. Writes "
        "labels.tif, spots.csv (grain and hkl of every spot) and leftovers.csv into a folder; with "
        "a geometry that does not fit the mask is left as it is."
    )
    add_scan(parser)
    parser.add_argument(
        "--spots", required=True, metavar="MASK.tif", help="input: binary stack of the scan"
    )
    parser.add_argument(
        "--grains", required=True, metavar="GRAINS.h5", help="input: of 'labdct grains'"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FOLDER",
        help="output: spots, labels and what is left over",
    )
    parser.add_argument("--material", help="element symbol or CIF file; the map's if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace another result")
    add_arguments(parser, RefineSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..grains.mapping import file_id
    from ..io.grain_map_files import read_grain_map
    from ..io.spot_csv import write_spot_csv
    from ..io.spot_tables import claim, described

    folder = Path(given.output).expanduser()
    paths = [folder / name for name in ("labels.tif", "spots.csv", "leftovers.csv")]
    scan = open_given(given)
    spare_inputs(paths, scan, given.spots, given.grains)
    measured = read_grain_map(given.grains, material=given.material)
    if len(measured.phases) > 1:
        raise ScanError(
            f"{Path(given.grains).name} has grains of {len(measured.phases)} phases, and spots are "
            "refined with one; give a map of one phase."
        )
    made_of = {"spots": file_id(given.spots), "grains": file_id(given.grains)}
    job = GuidedSpots(
        scan, open_mask(given.spots, scan), measured.grains, from_namespace(RefineSettings, given),
        measured.material, made_of,
    )  # fmt: skip
    recipes = [claim(path, job.recipe(), given.overwrite) for path in paths[1:]]
    make_folder(folder)
    with held(*paths[1:]):
        store = job.open_store(paths[0], overwrite=given.overwrite)
        show_progress(job.run(store), job.name)
        for which, (path, recipe) in enumerate(zip(paths[1:], recipes)):
            with described(path, recipe):
                tables = (job.table(i)[which] for i in range(scan.n_frames))
                write_spot_csv(path, tables)
    for path in paths:
        print(path)
    if job.note and job.note not in store.note:
        print(job.note, file=sys.stderr)
