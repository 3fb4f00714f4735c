"""Make the shipped sample scan with the package's own simulator.

    python scripts/make_sample_data.py

Everything follows from the seeds written into the README beside the data. The background, the
noise and the detector's faults are a plain model of what near-field LabDCT frames look like;
nothing of it is taken from real data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage as ndi

from napari_labdct.io import write_scan_yaml, write_spot_csv
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.scan.scan import Scan
from napari_labdct.simulation import SimulateSettings, Simulation

FOLDER = Path(__file__).parents[1] / "sample_data/demo"
NOISE_SEED = 20211
GREY_PER_PHOTON = 0.8

SETTINGS = SimulateSettings(
    sample="cylinder",
    diameter_um=160,
    height_um=220,
    mean_grain_um=30,
    spread=0.35,
    material="Al",
    tube_kv=140,
    power_w=10,
    filter_al_mm=2.0,
    source_sample_mm=11,
    sample_detector_mm=11,
    binning=4,
    frames=24,
    start_deg=0,
    step_deg=15,
    exposure_s=60,
    gain=GREY_PER_PHOTON,
    psf_px=0.9,
    beam_stop_width_mm=2.6,
    beam_stop_height_mm=2.6,
    truth_min_grey=20,
    seed=7,
)


def static_background(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Grey levels (rows, cols) of scattered radiation, without the beam stop."""
    rows, cols = np.indices(shape)
    y, x = (rows - shape[0] / 2) / shape[0], (cols - shape[1] / 2) / shape[1]
    radius = np.hypot(y, x)
    level = 330 + 330 * np.exp(-((radius / 0.42) ** 2))
    level *= 1 + 0.22 * x - 0.12 * y + 0.08 * np.exp(-((x / 0.06) ** 2)) * (y > -0.1)
    level += 12 * ndi.gaussian_filter(rng.normal(size=shape), 30) * 60
    streaks = np.zeros(shape)
    for angle, start, length, height in zip(
        rng.uniform(0, 2 * np.pi, 60),
        rng.uniform(90, 150, 60),
        rng.uniform(8, 40, 60),
        rng.uniform(15, 90, 60),
        strict=True,
    ):
        along = np.arange(0, length, 0.5) + start
        r = np.round(shape[0] / 2 + along * np.sin(angle)).astype(int)
        c = np.round(shape[1] / 2 + along * np.cos(angle)).astype(int)
        inside = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
        streaks[r[inside], c[inside]] = height
    level += ndi.gaussian_filter(streaks, 0.6) * 1.8
    level[:, -6:] += 60
    return level


def fixed_faults(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Extra grey levels of hot pixels, and a map that is 0 in dead ones."""
    hot = np.zeros(shape)
    hot.flat[rng.choice(hot.size, 260, replace=False)] = rng.lognormal(5.5, 1.0, 260)
    alive = np.ones(shape)
    alive.flat[rng.choice(hot.size, 25, replace=False)] = 0
    return hot, alive


def cosmic_rays(image: np.ndarray, rng: np.random.Generator) -> None:
    """Add single-frame hits and short tracks, in place."""
    for _ in range(rng.poisson(18)):
        r, c = rng.uniform(0, image.shape[0]), rng.uniform(0, image.shape[1])
        turn, height = rng.uniform(0, np.pi), rng.lognormal(6.0, 0.9)
        for step in range(1 + min(11, rng.geometric(0.45))):
            i, j = int(r + step * np.sin(turn)), int(c + step * np.cos(turn))
            if i < image.shape[0] and 0 <= j < image.shape[1]:
                image[i, j] += height


README = """# Sample data

`demo/` is a virtual LabDCT scan made by `python scripts/make_sample_data.py` with this package's
own simulator (napari-labdct, same licence as the code). It is not real data.

- `frames.tif`: {frames} projections of {rows} x {cols} px, uint16, {step:g} degrees apart over a
  full turn.
- `truth.tif`: 255 in the true spots, 0 elsewhere. A spot's mask is made from that spot alone,
  before the spots are summed: what is connected to its peak above max({truth_min:g} grey,
  {fraction:.0%} of the peak). {truth_min:g} grey is about one standard deviation of the noise, so
  that the weakest true spots cannot be seen by eye.
- `labels.tif`: `id` of the spot in `spots.csv`, 0 elsewhere.
- `spots.csv`: every true spot: frame, grain, hkl, energy, centre, area, peak (grey), detected
  photons.
- `grains.h5`: the virtual sample, in GrainMapper3D's layout.
- `scan.yaml`: geometry, angles, beam stop.

Sample: {grains} aluminium grains of {size:.1f} +- {sd:.1f} um in a cylinder of 160 x 220 um (seed
{seed}). Geometry: Laue focusing, 11 mm / 11 mm, pixels of {pixel:.2f} um (4 x 4 binned). Source:
tungsten, 140 kV, 10 W, 2 mm Al, {flux:.3g} photons/s/mm^2 at the sample, {exposure:g} s;
intensity model `laue`. {visible:.0f} true spots per projection; peaks (grey) 5 / 50 / 95 %:
{low:.0f} / {mid:.0f} / {high:.0f}; noise about 20.

Background (seed {noise_seed}): smooth level with a gradient and a vertical band, static streaks
around the beam stop, bright columns at the right edge, beam stop with a penumbra, source drift of
a few per cent from frame to frame, Poisson noise at {gain:g} grey per photon and 3 grey of read
noise, 260 hot and 25 dead pixels, about 18 cosmic-ray events a frame.

`grains/` is a second virtual scan, made by `python scripts/make_grain_sample.py`: 34 iron grains
of 33 um in a cylinder of 90 x 110 um, 60 projections of 338 x 338 px (20 um, 6 x 6 binned), 6
degrees apart, 11 mm / 18 mm, photon noise over an even level of 300 grey. The demo maps its
grains; `grains.h5` is the truth.
"""


def main() -> None:
    """Write ``sample_data/demo`` and its README."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    simulation = Simulation(SETTINGS)
    rng = np.random.default_rng(NOISE_SEED)
    shape = simulation.geometry.shape
    level = static_background(shape, rng)
    hot, alive = fixed_faults(shape, rng)
    stop = simulation.geometry.beam_stop_mask()
    # Penumbra: the stop stands between sample and detector, so its edge is soft.
    shade = 1 - 0.94 * ndi.gaussian_filter(stop.astype(float), 4.0)
    drift = 1 + np.cumsum(rng.normal(0, 0.012, SETTINGS.frames))
    frames, truth, labels, spots = [], [], [], []
    for index, omega in enumerate(SETTINGS.omega_deg):
        projection = simulation.project(omega, index)
        expected = drift[index] * (level + projection.image) * shade
        image = rng.poisson(expected / GREY_PER_PHOTON) * GREY_PER_PHOTON
        image = (image + rng.normal(0, 3, shape) + hot) * alive
        cosmic_rays(image, rng)
        frames.append(np.clip(np.round(image), 0, 65535).astype(np.uint16))
        truth.append((projection.labels > 0) * np.uint8(255))
        labels.append(projection.labels.astype(np.uint16))
        spots.append(projection.spots[projection.spots["area_px"] > 0])
    for name, stack in (("frames", frames), ("truth", truth), ("labels", labels)):
        tifffile.imwrite(
            FOLDER / f"{name}.tif",
            np.stack(stack),
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 9},
            predictor=name == "frames",
            metadata={"axes": "TYX"},
        )
    write_spot_csv(FOLDER / "spots.csv", spots)
    scan = Scan(np.stack(frames), SETTINGS.omega_deg, simulation.description(), "demo")
    write_scan_yaml(FOLDER / "scan.yaml", scan, ["frames.tif"])
    write_grainmapper(
        FOLDER / "grains.h5",
        simulation.grains,
        simulation.material,
        source_sample_mm=SETTINGS.source_sample_mm,
        sample_detector_mm=SETTINGS.sample_detector_mm,
        tube_kv=SETTINGS.tube_kv,
        n_projections=SETTINGS.frames,
    )
    low, mid, high = np.percentile(np.concatenate(spots)["peak"], [5, 50, 95])
    text = README.format(
        frames=SETTINGS.frames,
        rows=shape[0],
        cols=shape[1],
        step=SETTINGS.step_deg,
        truth_min=SETTINGS.truth_min_grey,
        fraction=SETTINGS.truth_fraction,
        grains=simulation.grains.n_grains,
        size=simulation.grains.diameters_um.mean(),
        sd=simulation.grains.diameters_um.std(),
        seed=SETTINGS.seed,
        pixel=simulation.geometry.pixel_um,
        flux=simulation.beam.flux_per_s_mm2,
        exposure=SETTINGS.exposure_s,
        visible=np.mean([len(s) for s in spots]),
        low=low,
        mid=mid,
        high=high,
        noise_seed=NOISE_SEED,
        gain=GREY_PER_PHOTON,
    )
    (FOLDER.parent / "README.md").write_text(text, encoding="utf-8")
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    print(text[text.index("Sample:") :])


if __name__ == "__main__":
    main()
