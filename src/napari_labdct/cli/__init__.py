"""``labdct``: the same runs as the docks, without a screen.

Every command is one module here.  Its flags come from the job's settings class, so the command
line, the docks and the Python library cannot differ.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from .._version import __version__
from ..core.errors import LabDCTError

#: One module a command, in the order of work.
COMMANDS = (
    "info",
    "simulate",
    "predict",
    "background",
    "synthesise",
    "denoise",
    "track",
    "routine",
    "grains",
    "compare",
    "spots",
    "train",
    "finetune",
    "models",
    "evaluate",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 (a fault, said in one sentence) or 130."""
    parser = argparse.ArgumentParser(
        prog="labdct", description="Find diffraction spots in LabDCT scans."
    )
    parser.add_argument("--version", action="version", version=f"labdct {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f".{name}", __name__).add_command(commands)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except LabDCTError as error:
        print(f"labdct: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("labdct: stopped; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0
