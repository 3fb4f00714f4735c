"""``labdct models``: the models there are, what they are, and ONNX files of them."""

from __future__ import annotations

import argparse
import sys

from ..core.errors import SettingsError
from ..core.outputs import write_once


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Without a flag: list the shipped models and your own. MODEL is the name of one of "
        "them, or a file."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--card", metavar="MODEL", help="what it is, learnt from, and how well")
    what.add_argument("--import", dest="add", metavar="FILE", help="copy it to your own models")
    what.add_argument("--rename", nargs=2, metavar=("MODEL", "NAME"), help="rename an own model")
    what.add_argument("--delete", metavar="MODEL", help="delete an own model")
    what.add_argument(
        "--export-onnx", nargs=2, metavar=("MODEL", "FILE.onnx"), help="write its network as ONNX"
    )
    parser.add_argument("--name", help="with --import: what to call it (default: as the file)")
    parser.add_argument(
        "--overwrite", action="store_true", help="with --import or --export-onnx: replace it"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..networks import library, own_models

    if given.card:
        from ..networks.model import Model

        print(library.model_card(Model.load(given.card, "cpu").info))
    elif given.add:
        added = own_models.import_model(given.add, given.name, given.overwrite)
        print(f"{added.name}: {added.path}")
    elif given.rename:
        renamed = own_models.rename_model(*given.rename)
        print(f"{renamed.name}: {renamed.path}")
    elif given.delete:
        own_models.delete_model(given.delete)
        print(f"deleted {given.delete}")
    elif given.export_onnx:
        from ..networks.model import Model

        name, path = given.export_onnx
        if not path.lower().endswith(".onnx"):
            raise SettingsError(f"{path} must end in .onnx; give such a name.")
        if not write_once(path, Model.load(name, "cpu").as_onnx(), given.overwrite):
            print(f"{path} holds this model already.", file=sys.stderr)
        print(path)
    else:
        for model in library.list_models():
            print(f"{model.name:<24} {'shipped' if model.shipped else model.path}")
