"""Make the second sample scan, the one that the demo maps grains of, with the package's simulator.

python scripts/make_grain_sample.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_labdct.io import write_scan_yaml
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.scan.scan import Scan
from napari_labdct.simulation import SimulateSettings, Simulation

FOLDER = Path(__file__).parents[1] / "sample_data/grains"
SETTINGS = SimulateSettings(
    sample="cylinder",
    diameter_um=90,
    height_um=110,
    mean_grain_um=32,
    material="Fe",
    source_sample_mm=11,
    sample_detector_mm=18,
    binning=6,
    frames=60,
    start_deg=0,
    step_deg=6,
    exposure_s=60,
    gain=0.8,
    psf_px=0.8,
    background=300,
    noise=True,
    voxel_um=2.5,
    truth_min_grey=20,
    seed=21,
)


def main() -> None:
    """Write ``sample_data/grains``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    s, simulation = SETTINGS, Simulation(SETTINGS)
    frames = np.stack(
        [simulation.grey(simulation.project(w, i), i) for i, w in enumerate(s.omega_deg)]
    )
    tifffile.imwrite(
        FOLDER / "frames.tif",
        frames,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 9},
        predictor=True,
        metadata={"axes": "TYX"},
    )
    scan = Scan(frames, s.omega_deg, simulation.description(), "grains")
    write_scan_yaml(FOLDER / "scan.yaml", scan, ["frames.tif"])
    write_grainmapper(
        FOLDER / "grains.h5",
        simulation.grains,
        simulation.material,
        source_sample_mm=s.source_sample_mm,
        sample_detector_mm=s.sample_detector_mm,
        tube_kv=s.tube_kv,
        n_projections=s.frames,
    )
    print(f"{simulation.grains.n_grains} grains of {simulation.grains.diameters_um.mean():.1f} um")
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
