"""``labdct simulate -o FOLDER``: a virtual scan with its truth, as the Simulate dock makes it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..core.parameters import add_arguments, fields_of
from ..simulation.settings import SimulateSettings
from .common import show_progress


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a virtual scan with its truth. --sample D18, D35 or D64 brings the intensity "
        "model of the paper's table 1, --grain-map FILE.h5 the geometry of that file; every "
        "flag given overrides. The same command goes on where it was stopped."
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: the scan and its truth"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another result")
    add_arguments(parser, SimulateSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..simulation import Simulation, SimulationOutput, settings_for, simulate_scan

    names = {field.name for field in fields_of(SimulateSettings)}
    values = {k: v for k, v in vars(given).items() if k in names and v is not None}
    settings = settings_for(values)
    # Made before anything is written, so that refused settings leave no files behind.
    simulation = Simulation(settings)
    output = SimulationOutput(settings, given.output, overwrite=given.overwrite)
    steps = simulate_scan(settings, given.output, output=output, simulation=simulation)
    # How many spots a frame has is for the dock; here it would be a line a frame.
    show_progress((replace(step, message="") for step in steps), "simulate")
    print(Path(output.folder) / "scan.yaml")
