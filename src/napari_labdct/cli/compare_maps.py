"""``labdct compare-maps REF MAP [MAP2] -o FOLDER``: how well grain maps agree with a better one."""

from __future__ import annotations

import argparse

from ..core.errors import SettingsError
from ..core.jobs import Progress
from .common import show_progress


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare one or two grain maps with a reference: the classes of the paper's table 2, "
        "misorientations, sizes, centres and the deviation of boundaries (eq. 4). Rotation, shift "
        "and convention of orientations are found and said."
    )
    parser.add_argument("reference", metavar="REF", help="input: the better grain map")
    parser.add_argument("maps", nargs="+", metavar="MAP", help="input: one or two grain maps")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: the report and its tables"
    )
    parser.add_argument("--material", help="material of all maps: an element or a CIF file")
    parser.add_argument(
        "--within-deg", type=float, default=1.0, help="orientations of one grain differ by at most"
    )
    parser.add_argument(
        "--as-they-lie", action="store_true", help="take the maps as they lie; find no registration"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another report")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..grains.map_report import MapsReport, compare_files

    if len(given.maps) > 2:
        raise SettingsError(
            f"One or two maps are compared with a reference, not {len(given.maps)}."
        )
    reports: list[MapsReport] = []

    def steps():
        for step in compare_files(
            given.reference,
            given.maps,
            given.output,
            material=given.material,
            within_deg=given.within_deg,
            register=not given.as_they_lie,
            overwrite=given.overwrite,
        ):
            if isinstance(step, Progress):
                yield step
            else:
                reports.append(step)

    show_progress(steps(), "compare", "step")
    for name, result in zip(reports[0].names, reports[0].results, strict=True):
        print(f"{name}: {result.summary()}")
        for sentence in result.registration.words():
            print(f"  {sentence}")
    print(f"{given.output}/report.html")
