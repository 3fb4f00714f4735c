"""``labdct run RECIPE SCAN -o FOLDER``: all steps of a recipe, one after another."""

from __future__ import annotations

import argparse
import sys

from ..campaign import read_recipe, run_scan
from ..core.errors import OutputError


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Take one scan through the steps of a recipe (docs/many_scans.md). Steps that are done are "
        "not done again; a changed setting redoes what depends on it."
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", help="input: the steps")
    parser.add_argument("scan", metavar="SCAN", help="a file, a folder, or a scan.yaml")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: all results"
    )
    parser.add_argument("--threads", type=int, help="of each step; all cores if not given")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    recipe = read_recipe(given.recipe)
    for unit, state in run_scan(recipe, given.scan, given.output, threads=given.threads):
        print(f"{unit.step.output}: {state}", file=sys.stderr)
        if state != "done":
            raise OutputError(
                f"The step {unit.step.output} failed, as said above; the same command goes on."
            )
    print(given.output)
