"""``labdct predict SCAN --grain-map FILE.h5 -o SPOTS.csv``: where known grains should be seen."""

from __future__ import annotations

import argparse

from ..core.parameters import add_arguments, from_namespace
from ..simulation.prediction import PredictSettings
from .common import add_scan, open_given


def add_command(parser: argparse.ArgumentParser) -> None:
    add_scan(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="SPOTS.csv", help="output: the table"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another result")
    add_arguments(parser, PredictSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..core.frame_store import spare_inputs
    from ..core.recipes import recipe
    from ..io import write_spot_csv
    from ..io.spot_tables import claim, described
    from ..simulation import Prediction

    scan = open_given(given)
    settings = from_namespace(PredictSettings, given)
    spare_inputs([given.output], scan, given.grain_map)
    made = recipe(
        "predict", settings, scan, geometry=scan.description.to_dict(),
        omega_deg=None if scan.omega_deg is None else scan.omega_deg.tolist(),
    )  # fmt: skip
    made = claim(given.output, made, given.overwrite)
    prediction = Prediction(scan, settings)
    tables = tqdm(prediction.run(), "predict", scan.n_frames, unit="projection")
    with described(given.output, made):
        print(write_spot_csv(given.output, tables))
