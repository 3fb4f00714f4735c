"""Grain maps written in GrainMapper3D's HDF5 layout, format version 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_hdf5
from ..crystal import GrainMap, Material, matrices_to_quaternions, nearest_equivalents
from .grainmapper import MeasuredMap


def write_grainmapper(
    path: str | Path,
    grains: GrainMap,
    material: Material | Sequence[Material],
    *,
    source_sample_mm: float | None = None,
    sample_detector_mm: float | None = None,
    tube_kv: float | None = None,
    n_projections: int | None = None,
    completeness: np.ndarray | None = None,
    rotations: np.ndarray | None = None,
    more: Callable[[Any], None] | None = None,
) -> Path:
    """Write a grain map in GrainMapper3D's layout (format version 4).

    `material` is one, or one for each phase in ``grains.phases``. `completeness` (nz, ny, nx) is 1
    in every grain if not given; `rotations` (nz, ny, nx, 4) as in `MeasuredMap` replace the mean
    orientations of the grains; `more` is given the open file, to write more into it.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import gemmi

    path = Path(path)
    phases = [material] if isinstance(material, Material) else list(material)
    spacing = np.full(3, grains.voxel_um * 1e-3)
    ids = np.concatenate([[0], grains.grain_ids]).astype(np.int32)[grains.labels]
    with atomic_hdf5(path, new_folder=False) as file:
        file["Version"] = np.array([4], np.int32)
        group = file.create_group("LabDCT")
        group["Spacing"] = spacing
        group["Center"] = np.array(grains.center_mm)
        group["Extent"] = spacing * grains.labels.shape[::-1]
        values = {
            "SourceToSampleDistance": source_sample_mm,
            "SampleToDetectorDistance": sample_detector_mm,
            "Voltage": tube_kv,
        }
        for name, value in values.items():
            if value is not None:
                group[name] = np.array([value], float)
        if n_projections is not None:
            group["NumberOfProjections"] = np.array([n_projections], np.int32)
        inside = (grains.labels > 0).astype(np.uint8)
        volumes = {
            "GrainId": ids,
            "Rodrigues": _rodrigues_volume(grains, phases, rotations),
            "PhaseId": np.concatenate([[0], grains.phases + 1]).astype(np.uint8)[grains.labels],
            "Mask": inside,
            "Completeness": (inside if completeness is None else completeness).astype(np.float32),
        }
        for name, volume in volumes.items():
            group.create_dataset(f"Data/{name}", data=volume, compression="gzip")
        for number, crystal in enumerate(phases, 1):
            phase = file.create_group(f"PhaseInfo/Phase{number:02d}")
            phase["Name"] = np.array([crystal.name.encode()])
            phase["UnitCell"] = np.array(crystal.cell, float)
            group_number = gemmi.find_spacegroup_by_name(crystal.space_group).number
            phase["SpaceGroup"] = np.array([group_number], np.int32)
            phase["UniversalHermannMauguin"] = np.array([crystal.space_group.encode()])
        if more is not None:
            more(file)
    return path


def write_measured(path: Path, measured: MeasuredMap) -> list[Path]:
    """Write a map with all that is known of it; see `write_grainmapper`."""
    write_grainmapper(
        path,
        measured.grains,
        list(measured.phases) or measured.material,
        source_sample_mm=measured.source_sample_mm,
        sample_detector_mm=measured.sample_detector_mm,
        tube_kv=measured.tube_kv,
        n_projections=measured.n_projections,
        completeness=measured.completeness,
        rotations=measured.rotations,
    )
    return [path]


def _rodrigues_volume(
    grains: GrainMap, phases: list[Material], rotations: np.ndarray | None
) -> np.ndarray:
    """Rodrigues vector of every voxel, float32; 0 outside the grains, never infinite."""
    quaternions = matrices_to_quaternions(grains.orientations)
    of_grain = np.array(
        [finite_rodrigues(q[None], phases[p])[0] for q, p in zip(quaternions, grains.phases)]
    )
    volume = np.concatenate([np.zeros((1, 3)), of_grain]).astype(np.float32)[grains.labels]
    if rotations is not None:
        phase = np.concatenate([[-1], grains.phases])[grains.labels]
        for number, crystal in enumerate(phases):
            known = (phase == number) & np.isfinite(rotations).all(axis=-1)
            volume[known] = finite_rodrigues(rotations[known].astype(float), crystal)
    return volume


def finite_rodrigues(quaternions: np.ndarray, crystal: Material) -> np.ndarray:
    """Rodrigues vectors (n, 3); near half a turn those of an equivalent orientation."""
    q = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    far = np.abs(q[:, 0]) < 0.05  # beyond this float32 loses more than 0.001 degrees
    if far.any():
        q[far] = nearest_equivalents(q[far], np.array([1.0, 0, 0, 0]), crystal.symmetry)[0]
    return q[:, 1:] / np.where(np.abs(q[:, :1]) < 1e-6, 1e-6, q[:, :1])
