"""Picture of a measured grain map beside its own virtual scan, for docs/images.

    python scripts/picture_al1050.py lab_dct_Al1050.h5 [docs/images/simulated_al1050.png]

The map of aluminium 1050 comes with the crispy project (MIT licence); the file is not part of this
repository. The picture holds nothing but the map, coloured by orientation, and a projection that
this package simulates from it in the geometry the file gives.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_labdct.crystal import GrainMap, ipf_colour
from napari_labdct.scan.geometry import ScanGeometry
from napari_labdct.simulation import Simulation, settings_of_map

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "images" / "simulated_al1050.png"
OMEGA_DEG = 30.0
INK = "#20242c"


def side_view(grains: GrainMap, colours: np.ndarray) -> np.ndarray:
    """The first grain met along +x (downstream) in each column: an image (nz, ny, 3), z up."""
    labels = grains.labels[::-1, ::-1]  # z up; y to the left, looking downstream
    hit = (labels > 0).argmax(axis=2)
    first = np.take_along_axis(labels, hit[..., None], axis=2)[..., 0]
    shade = 1 - 0.45 * hit / max(1, labels.shape[2])
    return np.where(first[..., None] > 0, colours[first - 1] * shade[..., None], 1.0)


def section(grains: GrainMap, colours: np.ndarray) -> np.ndarray:
    """The middle slice, seen from above: an image (ny, nx, 3), y up."""
    middle = grains.labels[grains.labels.shape[0] // 2, ::-1]
    return np.where(middle[..., None] > 0, colours[middle - 1], 1.0)


def set_up(axes, geometry: ScanGeometry, spots: np.ndarray, colours: np.ndarray) -> None:
    """The geometry to scale, seen from above: source, sample, detector, and some rays."""
    source, detector = -geometry.source_sample_mm, geometry.sample_detector_mm
    half = geometry.shape[1] * geometry.pixel_mm / 2
    axes.fill([source, detector, detector], [0, half, -half], color="#dfe5ee", lw=0)
    for spot, colour in zip(spots[::4], colours[::4], strict=True):
        y = geometry.pixel_to_lab(spot["row"], spot["col"])[1]
        axes.plot([0, detector], [0, y], color=colour, lw=0.7)
    axes.plot([source, 0], [0, 0], color=INK, lw=0.8)
    axes.plot([detector, detector], [-half, half], color=INK, lw=4)
    axes.plot([source], [0], "o", color=INK, ms=5)
    axes.plot([0], [0], "s", color="#d97706", ms=6)
    low = -half - 1.2
    for x, text in (
        (source, "source"), (source / 2, f"{-source:.2f} mm"), (0, "sample"),
        (detector / 2, f"{detector:.2f} mm"), (detector, "detector"),
    ):  # fmt: skip
        axes.text(x, low, text, ha="center", va="top", fontsize=8, color=INK)
    axes.set_ylim(low - 0.8, half + 0.4)
    axes.set_aspect("equal")
    axes.axis("off")


def draw(path: Path, out: Path) -> str:
    """Write the picture; returns its caption."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import PowerNorm

    settings = settings_of_map(path, binning=2)
    simulation = Simulation(settings)
    grains, geometry = simulation.grains, simulation.geometry
    colours = ipf_colour(grains.orientations, simulation.material.symmetry)
    projection = simulation.project(OMEGA_DEG)
    visible = projection.spots[projection.spots["area_px"] > 0]

    figure = plt.figure(figsize=(11, 6.6), dpi=110, facecolor="white")
    grid = figure.add_gridspec(
        3, 3, width_ratios=(1, 1.9, 1.9), height_ratios=(1, 1, 0.85), wspace=0.12, hspace=0.3
    )
    for row, (title, image) in enumerate(
        (("From the source, z up", side_view(grains, colours)),
         ("Middle slice, from above", section(grains, colours)))
    ):  # fmt: skip
        axes = figure.add_subplot(grid[row, 0])
        axes.imshow(image, interpolation="nearest")
        bar = 100 / grains.voxel_um
        low = image.shape[0] * 1.06
        axes.plot([0, bar], [low, low], color=INK, lw=3, clip_on=False)
        axes.text(bar / 2, low * 1.03, "100 um", ha="center", va="top", color=INK, fontsize=8)
        axes.set_title(title, fontsize=9, color=INK)
        axes.axis("off")
    top = float(np.percentile(visible["peak"], 80))
    for column, spots in enumerate((None, visible), 1):
        axes = figure.add_subplot(grid[:2, column])
        axes.imshow(projection.image, cmap="gray", norm=PowerNorm(0.5, 0, top))
        if spots is None:
            axes.set_title(f"Simulated projection at {OMEGA_DEG:g} deg", fontsize=9, color=INK)
        else:
            index = np.searchsorted(grains.grain_ids, spots["grain"])
            axes.scatter(
                spots["col"], spots["row"], s=26, facecolors="none", edgecolors=colours[index],
                linewidths=0.9,
            )  # fmt: skip
            axes.set_title("Its spots, coloured like their grains", fontsize=9, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
    of_spots = colours[np.searchsorted(grains.grain_ids, visible["grain"])]
    set_up(figure.add_subplot(grid[2, :]), geometry, visible, of_spots)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, bbox_inches="tight")
    plt.close(figure)
    rows, cols = geometry.shape
    return (
        f"{grains.n_grains} grains of {grains.diameters_um.mean():.1f} um (voxels of "
        f"{grains.voxel_um:g} um), {settings.source_sample_mm:.2f} / "
        f"{settings.sample_detector_mm:.2f} mm, {settings.tube_kv:.0f} kV, {rows} x {cols} px of "
        f"{geometry.pixel_um:.2f} um: {len(visible)} spots outside the beam stop."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", type=Path, help="GrainMapper3D HDF5 file")
    parser.add_argument("out", type=Path, nargs="?", default=DEFAULT)
    given = parser.parse_args()
    print(draw(given.map, given.out))
    print(given.out)
