"""What each version of the package reaches on the shipped samples: one line a release.

    python benchmarks/history.py             measure and print
    python benchmarks/history.py --keep      add it to docs/history.json and to docs/history.md

Denoises the demo scan and counts spots against its truth beside the standard routine, then maps the
grains of the second sample and holds them against theirs.  Only lines made on the same computer can
be compared in seconds; the counts can be compared on any.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import demo  # noqa: E402

import napari_labdct as labdct  # noqa: E402
from napari_labdct.grains import GrainMapping, compare_maps  # noqa: E402
from napari_labdct.io import open_scan  # noqa: E402
from napari_labdct.io.grainmapper import read_grainmapper  # noqa: E402
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings  # noqa: E402
from napari_labdct.spots.log_routine import RoutineJob  # noqa: E402
from napari_labdct.spots.matching import Score  # noqa: E402

KEPT = ROOT / "docs" / "history.json"
PAGE = ROOT / "docs" / "history.md"
HEADINGS = {
    "version": "version",
    "date": "date",
    "processor": "processor",
    "f1": "F1, network",
    "routine_f1": "F1, routine",
    "denoise_s": "denoise, s a projection",
    "grains": "grains found",
    "false_grains": "false",
    "boundary_um": "boundary, um",
    "map_s": "grain map, s",
}
INTRODUCTION = """# What each version reached

On the samples that come with the package: the demo scan (24 projections of 508 x 508, spots counted
against its truth) and the grain sample (34 grains). One line a release, made by
`python benchmarks/history.py --keep`. Seconds depend on the computer and on what else it does.

"""


def processor() -> str:
    """The name and the number of cores of this computer's processor."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def denoise(folder: Path) -> dict[str, float]:
    """Spots of network and routine on the demo scan, against its truth."""
    scan = open_scan(demo.SAMPLE)
    truth = open_scan(demo.SAMPLE / "truth.tif").frames
    denoiser = labdct.Denoiser(scan, labdct.DenoiseSettings())
    denoiser.frame(0)  # loads the model and compiles what is compiled
    store = denoiser.open_store(folder / "cleaned.tif")
    start = time.perf_counter()
    for _ in denoiser.run(store):
        pass
    seconds = time.perf_counter() - start
    spots = BinaryFrames(store, SpotSettings(threshold=denoiser.model.threshold))
    routine = RoutineJob(scan, demo.ROUTINE)
    standard = routine.open_store(folder / "routine.tif")
    for _ in routine.run(standard):
        pass
    network, filtered = Score(), Score()
    for k in range(scan.n_frames):
        network += labdct.match_spots(spots.read(k), truth[k])
        filtered += labdct.match_spots(standard.read(k), truth[k])
    return {"f1": network.f1, "routine_f1": filtered.f1, "denoise_s": seconds / scan.n_frames}


def map_grains() -> dict[str, float]:
    """The grain map of the second sample from the network's mask, against its truth."""
    scan = open_scan(demo.GRAIN_SAMPLE)
    denoiser = labdct.Denoiser(scan, labdct.DenoiseSettings())
    with tempfile.TemporaryDirectory() as folder:
        store = denoiser.open_store(Path(folder) / "cleaned.tif")
        for _ in denoiser.run(store):
            pass
        spots = BinaryFrames(store, SpotSettings(threshold=denoiser.model.threshold))
        start = time.perf_counter()
        mapping = GrainMapping(scan, spots, demo.GRAIN_SETTINGS)
        for _ in mapping.run():
            pass
        seconds = time.perf_counter() - start
    truth = read_grainmapper(demo.GRAIN_SAMPLE / "grains.h5")
    found = compare_maps(truth.grains, mapping.result.grains, truth.material.symmetry)
    return {
        "grains": len(found.one_to_one),
        "false_grains": len(found.false_positive),
        "boundary_um": found.boundary_of_volume_um,
        "map_s": seconds,
    }


def measure() -> dict[str, Any]:
    """One line of the history."""
    with tempfile.TemporaryDirectory() as folder:
        spots = denoise(Path(folder))
    values = spots | map_grains()
    return {
        "version": labdct.__version__,
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        **{key: float(f"{value:.4g}") for key, value in values.items()},
    }


def page(lines: list[dict[str, Any]]) -> str:
    """The page of the site: all lines as a table, the newest first."""
    rows = ["| " + " | ".join(HEADINGS.values()) + " |", "|" + "---|" * len(HEADINGS)]
    for line in reversed(lines):
        rows.append("| " + " | ".join(f"{line[key]}" for key in HEADINGS) + " |")
    return INTRODUCTION + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="add the line to the history")
    keep = parser.parse_args().keep
    line = measure()
    for key, heading in HEADINGS.items():
        print(f"{heading:26} {line[key]}")
    if keep:
        lines = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else []
        lines.append(line)
        KEPT.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
