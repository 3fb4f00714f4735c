"""``labdct info SCAN``: what a scan holds and what is still missing."""

from __future__ import annotations

import argparse

import numpy as np

from ..scan.plausibility import about_values, meaning
from ..scan.scan import STEPS, Scan
from .common import add_scan, open_given


def add_command(parser: argparse.ArgumentParser) -> None:
    add_scan(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    scan = open_given(given, notes=False)  # they are part of the answer
    rows, cols = scan.shape
    print(f"{scan.name}: {scan.n_frames} projections of {rows} x {cols}, {scan.dtype}")
    print(f"source: {scan.address}")
    print(f"id: {scan.identity()}")
    print(f"TIFF orientation: {scan.orientation}")
    if scan.omega_deg is None:
        print("angles: not given")
    else:
        print(f"angles: {_angles(scan)}{_source(scan, 'omega_deg')}")
    for name, value in scan.description.to_dict().items():
        if value not in (None, [], [0.0, 0.0, 0.0]):
            print(f"{name}: {value}{_source(scan, name)}")
    for name, value in scan.known.details:
        print(f"{name}: {value}")
    for sentence in filter(None, [*meaning(scan), scan.about_mask().rstrip(".")]):
        print(sentence[0].lower() + sentence[1:])
    for note in (*scan.notes, *about_values(scan)):
        print(f"note: {note}")
    for step in STEPS:
        missing = scan.missing_for(step)
        print(f"for {step}: {'complete' if not missing else 'missing ' + ', '.join(missing)}")


def _source(scan: Scan, name: str) -> str:
    """Where a value came from, if it was not typed."""
    source = scan.source_of(name)
    return f" ({source})" if source else ""


def _angles(scan: Scan) -> str:
    """First and last angle and the step between, with its sign."""
    first, last = scan.omega_deg[[0, -1]]
    steps = np.diff(scan.omega_deg)
    if not steps.any():
        return f"{first:g} deg" + (" for every projection" if steps.size else "")
    step = np.median(steps)
    even = np.allclose(steps, step, rtol=0.02, atol=0.01)  # they may have been rounded
    uneven = "" if even else ", uneven"
    turn = ", once round" if scan.circular else ""
    return f"{first:g} to {last:g} deg, step {step:g} deg{uneven}{turn}"
