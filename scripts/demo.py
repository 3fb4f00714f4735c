"""The main job on the shipped scans: denoise, binarise, standard routine, comparison, grain map.

python scripts/demo.py           write everything into demo_output/
python scripts/demo.py --open    open napari on the result
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import napari_labdct as labdct
from napari_labdct.background.rolling_median import RollingMedian
from napari_labdct.cli.common import show_progress, show_thousandths
from napari_labdct.evaluation.figures import figure5
from napari_labdct.grains import GrainMapping, GrainSettings, compare_maps, write_result
from napari_labdct.grains.pictures import map_figure
from napari_labdct.io import open_scan, write_frames, write_spot_csv
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.review.export import measure_reviewed
from napari_labdct.review.review import Review
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings
from napari_labdct.spots.detections import Detections
from napari_labdct.spots.log_routine import RoutineJob, RoutineSettings
from napari_labdct.spots.matching import Score

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data" / "demo"
#: A scan of some thirty grains in sixty projections, which can carry a grain map.
GRAIN_SAMPLE = ROOT / "sample_data" / "grains"
GRAIN_SETTINGS = GrainSettings(sample="cylinder", diameter_um=90, height_um=110, voxel_um=2.5)
OUTPUT = ROOT / "demo_output"
#: The best of 120 settings tried against the truth of three projections of this very sample.
ROUTINE = RoutineSettings(
    median_window=11,
    background=40,
    sigma_px=3,
    percentage=10,
    min_size_px=3,
    remove_cosmic_rays=True,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", action="store_true", help="open napari on the result")
    if parser.parse_args().open:
        open_in_napari()
        return
    start = time.perf_counter()
    scan = open_scan(SAMPLE)
    print(f"Scan: {scan.n_frames} projections of {scan.shape[0]} x {scan.shape[1]} in {SAMPLE}")

    denoiser = labdct.Denoiser(scan, labdct.DenoiseSettings())
    cleaned = denoiser.open_store(OUTPUT / "denoised.tif", overwrite=True)
    show_progress(denoiser.run(cleaned), "denoise")
    spots = BinaryFrames(cleaned, SpotSettings(threshold=denoiser.model.threshold))
    masks = map(spots.read, range(scan.n_frames))
    write_frames(OUTPUT / "spots.tif", masks, compression="zlib", count=scan.n_frames)
    detections = Detections(spots, cleaned=cleaned)
    tables = list(measure_reviewed(scan, detections, Review(detections.shape)))
    write_spot_csv(OUTPUT / "spots.csv", tables)

    routine = RoutineJob(scan, ROUTINE)
    standard = routine.open_store(OUTPUT / "routine.tif", overwrite=True)
    show_progress(routine.run(standard), "routine")

    truth = open_scan(SAMPLE / "truth.tif").frames
    scores = {"network": Score(), "routine": Score()}
    for i in range(scan.n_frames):
        scores["network"] += labdct.match_spots(spots.read(i), truth[i])
        scores["routine"] += labdct.match_spots(standard.read(i), truth[i])
    print(f"\n{'against the truth':18} {'spots':>6} {'precision':>10} {'recall':>7} {'F1':>6}")
    for name, s in scores.items():
        print(f"{name:18} {s.spots_a:6d} {s.precision:10.3f} {s.recall:7.3f} {s.f1:6.3f}")

    busiest = max(range(scan.n_frames), key=lambda i: len(tables[i]))
    figure = figure5(
        scan.frame(busiest),
        cleaned.read(busiest),
        spots.read(busiest) > 0,
        RollingMedian(scan, ROUTINE.median_window).at(busiest),
        standard.read(busiest) > 0,
    )
    figure.savefig(OUTPUT / "comparison.png", dpi=150)
    recipes = {
        "cleaned": cleaned.recipe,
        "binarise": spots.settings.to_dict(),
        "routine": standard.recipe,
    }
    (OUTPUT / "recipe.json").write_text(json.dumps(recipes, indent=1), encoding="utf-8")

    map_grains()

    print(f"\nDone in {time.perf_counter() - start:.0f} s. Written into {OUTPUT}:")
    for name, what in [
        ("denoised.tif", "the network result, 0 to 255"),
        ("spots.tif", "the mask for grain software"),
        ("spots.csv", "the table, every spot measured"),
        ("routine.tif", "spots of the standard routine"),
        ("comparison.png", "both side by side, like the paper's Fig. 5"),
        ("grains.h5", "the grain map of the second sample (GrainMapper3D's layout)"),
        ("grains.csv", "its table: orientation, centre, size, completeness of every grain"),
        ("grains.png", "slices of the map: orientations and completeness"),
        ("recipe.json", "what made them"),
    ]:
        print(f"  {name:15} {what}")
    offer_napari()


def map_grains() -> None:
    """From projections to a grain map: the second sample, held against its truth."""
    scan = open_scan(GRAIN_SAMPLE)
    print(f"\nGrain map: {scan.n_frames} projections of {scan.shape[0]} x {scan.shape[1]}")
    denoiser = labdct.Denoiser(scan, labdct.DenoiseSettings())
    cleaned = denoiser.open_store(OUTPUT / "grains_denoised.tif", overwrite=True)
    show_progress(denoiser.run(cleaned), "denoise")
    spots = BinaryFrames(cleaned, SpotSettings(threshold=denoiser.model.threshold))
    write_frames(OUTPUT / "grains_spots.tif", map(spots.read, range(scan.n_frames)))
    mapping = GrainMapping(scan, open_scan(OUTPUT / "grains_spots.tif").frames, GRAIN_SETTINGS)
    show_thousandths(mapping.run())
    write_result(OUTPUT / "grains.h5", mapping.result)
    map_figure(mapping.result).savefig(OUTPUT / "grains.png", dpi=110)
    truth = read_grainmapper(GRAIN_SAMPLE / "grains.h5")
    print(compare_maps(truth.grains, mapping.result.grains, truth.material.symmetry).summary())


def has_display() -> bool:
    """Whether a window could be opened."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def offer_napari() -> None:
    if has_display() and sys.stdin.isatty():
        if input("\nOpen napari on the result? [y/N] ").strip().lower() == "y":
            open_in_napari()
    else:
        print("On a computer with a screen, `make app` opens napari on the result.")


def open_in_napari() -> None:
    """The sample scan with the demo's results and the docks that made them."""
    if not has_display():
        raise SystemExit("There is no screen here (DISPLAY is not set); run make app on a desktop.")
    if not (OUTPUT / "denoised.tif").exists() or not (OUTPUT / "routine.tif").exists():
        raise SystemExit("Run make demo first; it writes the result that make app opens.")
    import napari

    from napari_labdct.gui.app.live_mask import LiveMask
    from napari_labdct.gui.app.session import session_of

    scan = open_scan(SAMPLE)
    denoiser = labdct.Denoiser(scan, labdct.DenoiseSettings())
    cleaned = denoiser.open_store(OUTPUT / "denoised.tif")
    standard = RoutineJob(scan, ROUTINE).open_store(OUTPUT / "routine.tif")
    spots = LiveMask(cleaned, SpotSettings(threshold=denoiser.model.threshold))

    viewer = napari.Viewer()
    viewer.open(str(SAMPLE / "scan.yaml"), plugin="napari-labdct")
    session = session_of(viewer)
    session.add_result(session.stack, cleaned, "cleaned", recipe=cleaned.recipe)
    session.add_result(session.stack, standard, "routine mask", recipe=standard.recipe)
    session.add_result(session.stack, spots, "network mask", recipe=cleaned.recipe)
    for dock in ("Compare", "Review", "Denoise"):
        viewer.window.add_plugin_dock_widget("napari-labdct", dock, tabify=True)
    napari.run()


if __name__ == "__main__":
    main()
