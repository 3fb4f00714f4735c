"""``labdct batch run RECIPE SCANS -o FOLDER``: a recipe file on many scans."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from pathlib import Path

from ...core.errors import OutputError
from ...core.files import make_folder
from ...core.locks import alone
from ..campaign import Campaign, problems
from ..executors import dask

_WHAT = {
    "plan": "show what is done and what is to do",
    "run": "do what is not done",
    "status": "count the steps in each state",
    "retry": "run the scans of which a step failed",
    "collect": "write one table of the spots of all scans",
}


def _workers(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 256:
        raise argparse.ArgumentTypeError(f"{count} is not 1 to 256 workers")
    return count


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a recipe file on many scans, each in a folder of its own. A failed scan does not "
        "stop the others; the same command goes on where it stopped."
    )
    said = "; ".join(f"{name}: {line}" for name, line in _WHAT.items())
    parser.add_argument("what", choices=list(_WHAT), metavar="WHAT", help=said)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file (.yaml)")
    parser.add_argument(
        "scans", nargs="+", metavar="SCANS", help='files, folders or patterns: "scans/*/scan.yaml"'
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: a folder for each scan"
    )
    parser.add_argument("--logs", metavar="FOLDER", help="output: logs (default: FOLDER/logs)")
    parser.add_argument("--workers", type=_workers, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="of a Dask scheduler whose workers do the work"
    )
    parser.add_argument(
        "--table", metavar="SPOTS.csv", help="output: of collect (default: FOLDER/spots.csv)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    campaign = Campaign(given.recipe, given.scans, given.output, given.logs)
    if given.what in ("plan", "status"):
        states = list(campaign.state())
        if given.what == "plan":
            for scan, step, state, fault in states:
                print(f"{scan}\t{step}\t{state}\t{fault}".rstrip())
        for state, count in sorted(Counter(state for _, _, state, _ in states).items()):
            print(f"{state}: {count} of {len(states)} steps")
    elif given.what == "collect":
        path = Path(given.table or campaign.output / "spots.csv")
        if path.exists() and not given.overwrite:
            raise OutputError(f"{path} is there already; replace it with --overwrite.")
        print(f"{path}: {campaign.collect(path)} of {len(campaign.scans)} scans")
    else:
        how = {"only_failed": given.what == "retry", "overwrite": given.overwrite}
        folder = make_folder(campaign.output)
        carrier = dask(given.dask) if given.dask else contextlib.nullcontext()
        with alone(folder / "campaign", folder), carrier as executor:
            failed = problems(campaign.run(given.workers, executor, **how))
        if failed:
            raise OutputError(
                f"{failed} of {len(campaign.scans)} scans failed, as said above; mend it and use "
                "'labdct batch retry'."
            )
