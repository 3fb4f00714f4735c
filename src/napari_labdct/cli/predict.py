"""``labdct predict SCAN --grain-map FILE.h5 -o SPOTS.csv``: where known grains should be seen."""

from __future__ import annotations

import argparse

from ..core.parameters import add_arguments, from_namespace
from ..simulation.prediction import PredictSettings
from .common import add_scan, open_given


def add_command(commands) -> None:
    parser = commands.add_parser(
        "predict", help="list the spots that a grain map should give on a scan"
    )
    add_scan(parser)
    parser.add_argument("-o", "--output", required=True, metavar="SPOTS.csv")
    add_arguments(parser, PredictSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..io import write_spot_csv
    from ..simulation import Prediction

    scan = open_given(given)
    prediction = Prediction(scan, from_namespace(PredictSettings, given))
    tables = tqdm(prediction.run(), "predict", scan.n_frames, unit="frame")
    print(write_spot_csv(given.output, tables))
