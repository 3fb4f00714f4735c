"""How good grain maps are: simulated scans, mapped and held against their truth.

    python benchmarks/grains.py --scan laue --masks ideal --folder grain_benchmark
    python benchmarks/grains.py --scan magnified titanium --masks ideal network tracked routine
    python benchmarks/grains.py --compare TRUTH.h5 MAP.h5

Scans (spots with photon noise over an even level of 300 grey, 1016 x 1016 px of 6.72 um):

- magnified: 11/18 mm, some 284 iron grains of 35 um, 121 projections,
- laue: 13/13 mm, some 600 iron grains of 47 um, 181 projections,
- titanium: 11/18 mm, some 60 hexagonal grains of 45 um, 121 projections.

With ``--blank FOLDER`` the spots lie on real projections that hold none (see
``evaluation/blank_scans.py``), half of them higher than 4 noise sigmas.

Masks: ideal (each spot cut at 12 % of its peak, if that is above the noise), network (the shipped
model), tracked (the same, confirmed by other projections), routine (rolling median and LoG).
Everything made is kept in the folder and not made again. Prints one row of a table a run: the
classes of table 2, grains found by size, misorientation, boundary deviation (eq. 4), voxels right,
CPU seconds of the mapping.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import napari_labdct as labdct
from napari_labdct.cli.common import show_progress
from napari_labdct.evaluation.blank_scans import BlankFrames, BlankRecipe, write_blank_scan
from napari_labdct.evaluation.phantoms import NEAR
from napari_labdct.grains import GrainMapping, GrainSettings, compare_maps, write_result
from napari_labdct.io import open_scan, write_frames
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.simulation import SimulateSettings, simulate_scan
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings
from napari_labdct.spots.log_routine import RoutineJob, RoutineSettings
from napari_labdct.spots.tracking import Tracker, TrackSettings

EDGES_UM = [0, 15, 20, 30, 40, 60]
MASKS = ("ideal", "network", "tracked", "routine")
_ALL = {
    "sample": "cylinder", "binning": 2, "noise": True, "background": 300.0, "power_w": 10.0,
    "truth_min_grey": 20.0, "truth_fraction": 0.12, "start_deg": 0.0,
}  # fmt: skip
SCANS = {
    "magnified": SimulateSettings(
        **_ALL, material="Fe", diameter_um=160, height_um=310, mean_grain_um=34.7,
        source_sample_mm=11, sample_detector_mm=18, frames=121, step_deg=3, seed=11,
    ),
    "laue": SimulateSettings(
        **_ALL, material="Fe", diameter_um=300, height_um=460, mean_grain_um=47,
        source_sample_mm=13, sample_detector_mm=13, frames=181, step_deg=2, seed=12,
    ),
    "titanium": SimulateSettings(
        **_ALL, material="Ti", diameter_um=130, height_um=220, mean_grain_um=45,
        source_sample_mm=11, sample_detector_mm=18, frames=121, step_deg=3, seed=13,
    ),
}  # fmt: skip
ROUTINE = RoutineSettings(
    median_window=11, background=40, sigma_px=3, percentage=10, min_size_px=3,
    remove_cosmic_rays=True,
)  # fmt: skip


def made_scan(name: str, folder: Path, blank: Path | None = None) -> Path:
    """The folder of a simulated scan; made unless it is there."""
    if blank is not None:
        where = folder / f"{name}_blank"
        if not (where / "scan.yaml").exists():
            recipe = on_blank(SCANS[name], BlankFrames.open(blank))
            show_progress(write_blank_scan(recipe, where), f"simulate {name} on blank frames")
        return where
    where = folder / name
    if not (where / "spots.csv").exists():
        show_progress(simulate_scan(SCANS[name], where), f"simulate {name}")
    return where


def on_blank(settings: SimulateSettings, blank: BlankFrames) -> BlankRecipe:
    """The same sample and geometry over real noise."""
    drawn = {"noise": False, "background": 0.0, "psf_px": 0.9}
    left_out = ("seed", "frames", "truth_min_grey", "truth_fraction", "job")
    sample = {k: v for k, v in settings.to_dict().items() if k not in left_out and v is not None}
    return BlankRecipe(
        name=settings.material, group=NEAR, sample=sample | drawn, seed=settings.seed,
        median_peak_snr=4.0, level=blank.level, noise=float(np.median(blank.variance_over_level)),
        readout=0.0, offset=0.0, frames=settings.frames, blank=blank,
    )  # fmt: skip


def masks_of(kind: str, where: Path):
    """The binary stack of a scan, made if it is not there."""
    if kind == "ideal":
        return open_scan(where / "truth.tif").frames
    results = where.parent / f"{where.name}_masks"
    results.mkdir(exist_ok=True)
    scan = open_scan(where)
    if kind == "routine":
        job = RoutineJob(scan, ROUTINE)
        store = job.open_store(results / "routine.tif")
        show_progress(job.run(store), "routine")
        return store
    denoiser = labdct.Denoiser(scan, labdct.DenoiseSettings())
    cleaned = denoiser.open_store(results / "cleaned.tif")
    show_progress(denoiser.run(cleaned), "denoise")
    if kind == "tracked":
        tracker = Tracker(scan, cleaned, TrackSettings(), cleaned.recipe)
        tracked = tracker.open_store(results / "tracked.tif")
        show_progress(tracker.run(tracked), "track")
        cleaned = tracked
    spots = BinaryFrames(cleaned, SpotSettings(threshold=denoiser.model.threshold))
    path = results / f"{kind}_mask.tif"
    if not path.exists():
        write_frames(path, map(spots.read, range(scan.n_frames)), count=scan.n_frames)
    return open_scan(path).frames


def run(name: str, kind: str, folder: Path, threads: int | None, blank: Path | None = None) -> str:
    """Map one scan from one kind of masks; a row of the table."""
    where = made_scan(name, folder, blank)
    masks, s = masks_of(kind, where), SCANS[name]
    settings = GrainSettings(
        sample="cylinder", diameter_um=s.diameter_um, height_um=s.height_um, voxel_um=2.5,
        threads=threads,
    )  # fmt: skip
    job = GrainMapping(open_scan(where), masks, settings)
    cpu, wall, shown = time.process_time(), time.perf_counter(), 0.0
    last, longest = wall, (0.0, "")
    for step in job.run(folder / f"{where.name}_{kind}.part.json"):
        now = time.perf_counter()
        longest, last = max(longest, (now - last, step.message)), now
        if time.perf_counter() - shown > 20:
            shown = time.perf_counter()
            print(f"  {step.done / 10:.0f} % {step.message}", flush=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"longest wait for a cancel: {longest[0]:.1f} s, before '{longest[1]}'")
    path = write_result(folder / f"{where.name}_{kind}.h5", job.result)[0]
    cells = compared(where / "grains.h5", path)
    return f"| {where.name} | {kind} | {cells} | {cpu:.0f} | {wall:.0f} |"


def compared(truth_path: Path, map_path: Path) -> str:
    """The cells of a row: what was found, and how well."""
    truth, made = read_grainmapper(truth_path), read_grainmapper(map_path)
    result = compare_maps(truth.grains, made.grains, truth.material.symmetry)
    print(result.summary(), flush=True)
    sizes = ", ".join(f"{a}/{b}" for a, b in result.found_by_size(EDGES_UM))
    return (
        f"{len(result.one_to_one)} of {truth.grains.n_grains}, {len(result.false_positive)} | "
        f"{sizes} | {float(result.misorientation_deg.mean()):.4f} | "
        f"{float(result.boundary_um.mean()):.2f} | {result.voxels_right:.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scan", nargs="+", choices=[*SCANS], default=[*SCANS])
    parser.add_argument("--masks", nargs="+", choices=MASKS, default=[*MASKS])
    parser.add_argument("--folder", type=Path, default=Path("grain_benchmark"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--blank", type=Path, help="folder of real projections without spots")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("TRUTH.h5", "MAP.h5"))
    given = parser.parse_args()
    if given.compare:
        print(compared(*given.compare))
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    cells = (given.folder, given.threads, given.blank)
    rows = [run(n, k, *cells) for n in given.scan for k in given.masks]
    print(
        "\n| scan | masks | one to one, false | found "
        + ", ".join(f"> {e}" for e in EDGES_UM)
        + " um | misorientation (mean), deg | boundary, um | voxels right | CPU s | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
