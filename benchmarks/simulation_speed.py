"""Time per projection of the simulator, beside a plain NumPy loop doing the same sums.

    python benchmarks/simulation_speed.py [--sample D64] [--frames 3]

The loop draws every (grain, hkl) with NumPy arrays, adds single pixels and knows neither point
spread nor masks, so it does less than the projector.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from napari_labdct.core.rotations import rotation_z
from napari_labdct.crystal import HC_KEV_ANGSTROM, material
from napari_labdct.scan.geometry import ScanGeometry
from napari_labdct.simulation import Beam, Projector, preset_sample


def numpy_projection(projector: Projector, omega_deg: float) -> np.ndarray:
    """One frame by a loop over candidate reflections; the same physics, no point spread."""
    geometry, beam = projector.geometry, projector.beam
    reflections = projector.material.with_u_iso(0.01 / 4).reflections(4)
    scattering = reflections.hkl @ projector.material.b_matrix.T
    points, first, volume = projector.grains.cells(99.0)
    volume_factor = 2.8179403e-12**2 * volume * 1e12 / projector.material.volume_a3**2
    mu = projector.material.attenuation_per_mm(beam.energy_kev)
    turn = rotation_z(omega_deg)
    image = np.zeros(geometry.shape)
    for grain in range(projector.grains.n_grains):
        p = points[first[grain] : first[grain + 1]] @ turn.T
        k0 = p - geometry.source_mm
        k0 /= np.linalg.norm(k0, axis=1, keepdims=True)
        middle = k0.mean(axis=0)
        for index, g in enumerate(scattering):
            length = np.linalg.norm(g)
            normal = turn @ projector.grains.orientations[grain] @ g / length
            sine = -(middle @ normal)
            base = HC_KEV_ANGSTROM * length / (4 * np.pi)
            if sine <= 0.002 or not 10 < base / sine < 190:
                continue
            sine = -(k0 @ normal)
            energy = base / sine
            k1 = k0 + 2 * sine[:, None] * normal
            t = (geometry.sample_detector_mm - p[:, 0]) / k1[:, 0]
            q = p + t[:, None] * k1
            hit = np.floor(geometry.lab_to_pixel(q) + 0.5).astype(int)
            good = (hit >= 0).all(axis=1) & (hit < geometry.shape).all(axis=1)
            good &= (energy > beam.energy_kev[0]) & (energy < beam.energy_kev[-1])
            if not good.any():
                continue
            p_, k0_, k1_, energy, sine = p[good], k0[good], k1[good], energy[good], sine[good]
            radius2 = projector.grains.radius_mm**2
            c = p_[:, 0] ** 2 + p_[:, 1] ** 2 - radius2
            path = 0.0
            for k, sign in ((k0_, 1), (k1_, -1)):
                a = k[:, 0] ** 2 + k[:, 1] ** 2
                b = p_[:, 0] * k[:, 0] + p_[:, 1] * k[:, 1]
                path = path + (sign * b + np.sqrt(np.maximum(b * b - a * c, 0))) / a
            grey = np.interp(energy, beam.energy_kev, beam.table)
            grey *= np.exp(-np.interp(energy, beam.energy_kev, mu) * path)
            cos2 = 1 - 2 * sine**2
            grey *= reflections.f2[index] * volume_factor * (1 + cos2**2) / 2
            grey /= 2 * sine * np.sqrt(1 - sine**2)
            np.add.at(image, tuple(hit[good].T), grey)
    image[geometry.beam_stop_mask()] = 0
    return image


def main() -> None:
    """Print seconds per projection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", default="D64", choices=["D18", "D35", "D64"])
    parser.add_argument("--voxel-um", type=float, default=3.4)
    parser.add_argument("--frames", type=int, default=3)
    arguments = parser.parse_args()
    stop = ((543.5, 525.5), (543.5, 1487.5), (1496.5, 1487.5), (1496.5, 525.5))
    geometry = ScanGeometry(11, 11, 3.3623, (2032, 2032), beam_stop_px=(stop,))
    grains = preset_sample(arguments.sample, voxel_um=arguments.voxel_um)
    print(
        f"{arguments.sample}: {grains.n_grains} grains, {(grains.labels > 0).sum() / 1e6:.2f} M "
        f"voxels of {grains.voxel_um:g} um, 2032 x 2032 px, {os.cpu_count()} cores"
    )
    angles = np.arange(arguments.frames) * 37.0
    for threads in sorted({1, 2, min(8, os.cpu_count() or 1)}):
        projector = Projector(
            grains, material("Al"), geometry, Beam.fang2020(), cell_um=99.0, threads=threads
        )
        projector.project(-5.0)  # compiles, or loads what was compiled before
        wall, cpu = time.perf_counter(), time.process_time()
        for omega in angles:
            projection = projector.project(omega)
        wall = (time.perf_counter() - wall) / len(angles)
        cpu = (time.process_time() - cpu) / len(angles)
        hits = projection.spots["cells"].sum()
        print(
            f"projector, {threads} thread(s): {wall:.2f} s per projection ({cpu:.2f} s CPU, "
            f"{hits / 1e6:.1f} M hits, {cpu / hits * 1e9:.0f} ns CPU per hit)"
        )
    start = time.perf_counter()
    image = numpy_projection(projector, angles[-1])
    print(f"plain NumPy loop: {time.perf_counter() - start:.2f} s per projection")
    print(f"sum of the frames, projector / NumPy: {projection.image.sum() / image.sum():.4f}")


if __name__ == "__main__":
    main()
