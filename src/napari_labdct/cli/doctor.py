"""``labdct doctor``: what this computer has, for choosing a device and for a bug report."""

from __future__ import annotations

import argparse


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Versions, memory, free disk, whether a window opens, and how quick each device is on the "
        "sample scan: one block to paste into a bug report. It names no folder unless asked to."
    )
    parser.add_argument("--no-window", action="store_true", help="do not try Qt and OpenGL")
    parser.add_argument("--no-timing", action="store_true", help="do not measure the devices")
    parser.add_argument("--folders", action="store_true", help="name the folders written to")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..evaluation.doctor import diagnose

    for line in diagnose(not given.no_window, not given.no_timing, given.folders):
        print(line, flush=True)
