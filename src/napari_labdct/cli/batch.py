"""``labdct batch WHAT RECIPE SCAN... -o FOLDER``: many scans through one recipe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..campaign import Campaign
from ..core.errors import OutputError

_WHAT = ("plan", "run", "status", "retry", "collect")


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Take many scans through one recipe (docs/many_scans.md). plan and status say what is done "
        "and what is not; run does the rest, retry only what failed; collect writes one table."
    )
    parser.add_argument("what", choices=_WHAT)
    parser.add_argument("recipe", metavar="RECIPE.yaml", help="input: the steps")
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="files, folders or scan.yaml")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: a folder for each scan"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="steps at once (default: 1)"
    )
    parser.add_argument("--threads", type=int, help="of each step; all cores if not given")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    campaign = Campaign(given.recipe, given.scans, given.output)
    if given.what in ("run", "retry"):
        _run(campaign, given)
    elif given.what == "collect":
        Path(given.output).expanduser().mkdir(parents=True, exist_ok=True)
        print(campaign.collect(Path(given.output) / "scans.csv"))
    else:
        for state in campaign.states():
            steps = ", ".join(f"{name} {how}" for name, how in state.steps)
            print(f"{state.name}: {steps or state.problem}")
            if state.steps and state.problem:
                print(f"  {state.problem}")


def _run(campaign: Campaign, given: argparse.Namespace) -> None:
    steps = campaign.run(
        workers=given.workers, threads=given.threads, only_failed=given.what == "retry"
    )
    for unit, how in steps:
        print(f"{Path(unit.folder).name}: {unit.step.output} {how}", file=sys.stderr)
    failed = [state for state in campaign.states() if state.state == "failed"]
    for state in failed:
        print(f"{state.name}: {state.problem}", file=sys.stderr)
    if failed:
        raise OutputError(
            f"{len(failed)} of {len(campaign.scans)} scans failed; mend the cause and use retry."
        )
    print(campaign.output)
