"""``labdct convert IN OUT``: a file of one kind as a file of another."""

from __future__ import annotations

import argparse


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Convert a grain map: GrainMapper3D (.h5), DREAM.3D (.dream3d), Neper (.tesr) and ImageD11 "
        "(.ubi, .map) are read and written, ParaView (.xdmf) and a table (.csv) are written."
    )
    parser.add_argument("source", metavar="IN", help="input: a grain map")
    parser.add_argument("target", metavar="OUT", help="output: its end tells the format")
    parser.add_argument(
        "--material", help="materials of a grain map, one a phase: elements or CIF files"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..io.grain_map_files import convert_grain_map

    for path in convert_grain_map(
        given.source, given.target, material=given.material, overwrite=given.overwrite
    ):
        print(path)
