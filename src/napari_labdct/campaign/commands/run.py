"""``labdct run RECIPE SCAN -o FOLDER``: the steps of a recipe file on one scan."""

from __future__ import annotations

import argparse
import sys

from ... import cli
from ...core.files import make_folder
from ...core.locks import alone
from ..recipe_file import Recipe, read_recipe, recipe_of_result
from ..steps import DONE, do, let_go, plan


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the steps of a recipe file on a scan. Steps that are done are not done again; a "
        "changed setting redoes what depends on it. The same command goes on where it stopped."
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a recipe file (.yaml), or a result with its recipe"
    )
    parser.add_argument("scan", metavar="SCAN", help="a file, a folder, or a scan.yaml")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="output: one folder a scan"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    tabled = given.recipe.lower().endswith((".yaml", ".yml"))
    recipe = read_recipe(given.recipe) if tabled else recipe_of_result(given.recipe)
    folder = make_folder(given.output)
    with alone(folder / "steps", folder):
        _run(recipe, given)


def _run(recipe: Recipe, given: argparse.Namespace) -> None:
    for k, one in enumerate(plan(recipe, given.scan, given.output)):
        place = f"{k + 1} of {len(recipe.steps)}: {one.step.name}"
        if one.state == DONE:
            print(f"{place}, done before", file=sys.stderr)
            let_go(one, given.output)
            continue
        print(place, file=sys.stderr)
        do(one, given.scan, given.output, cli.perform, given.overwrite)
