"""Time of ``labdct compare-maps`` on two maps of 600 grains and 3 million voxels."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from napari_labdct.core.rotations import rotation_z
from napari_labdct.crystal import GrainMap, material
from napari_labdct.grains.map_report import compare_files
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.simulation.sample import box_mask, make_sample


def main() -> None:
    truth = make_sample(box_mask((362.5,) * 3, 2.5), 2.5, grains=600, seed=3)
    rng = np.random.default_rng(0)
    wobble = [ndi.gaussian_filter(rng.normal(size=truth.labels.shape), 4) * 40 for _ in range(3)]
    at = [
        np.clip(np.round(g + w), 0, n - 1).astype(int)
        for g, w, n in zip(np.indices(truth.labels.shape), wobble, truth.labels.shape)
    ]
    labels = truth.labels[tuple(at)]
    labels[np.isin(labels, rng.choice(truth.n_grains, 60, replace=False) + 1)] = 0
    turn = rotation_z(4.0)
    noise = np.stack([rotation_z(a) for a in rng.normal(0, 0.02, truth.n_grains)])
    # The places are turned as well: a map in another frame.
    other = GrainMap(labels, 2.5, turn @ truth.orientations @ noise, (0.02, 0.01, -0.03))
    with tempfile.TemporaryDirectory() as folder:
        for name, grains in (("ref", truth), ("map", other)):
            write_grainmapper(Path(folder) / f"{name}.h5", grains, material("Fe"))
        started = time.perf_counter()
        steps = compare_files(
            Path(folder) / "ref.h5", [Path(folder) / "map.h5"], Path(folder) / "report"
        )
        for step in steps:
            print(f"{time.perf_counter() - started:6.1f} s", getattr(step, "message", ""))
        print(f"{truth.labels.size} voxels, {truth.n_grains} grains")


if __name__ == "__main__":
    main()
