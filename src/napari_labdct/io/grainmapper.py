"""Grain maps: the small data class everything shares, and GrainMapper3D HDF5 files.

A volume is (z, y, x), as GrainMapper3D and napari have it; positions in mm are (x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import ScanError
from ..core.files import atomic_hdf5
from ..crystal import Material, matrix_to_rodrigues, quaternions_to_matrices, rodrigues_to_matrix
from ..crystal import material as find_material
from ..crystal.grain_map import GrainMap

__all__ = ["GrainMap", "MeasuredMap", "read_grainmapper", "write_grainmapper"]


@dataclass(frozen=True, eq=False)
class MeasuredMap:
    """A grain map from a file and what the file says of the scan it came from.

    Attributes
    ----------
    grains : GrainMap
    material : Material
        The first phase, with the cell of the file.
    source_sample_mm, sample_detector_mm, tube_kv : float or None
    n_projections : int or None
        Over 360 degrees; the last one repeats the first.
    """

    grains: GrainMap
    material: Material
    source_sample_mm: float | None
    sample_detector_mm: float | None
    tube_kv: float | None
    n_projections: int | None

    @property
    def omega_deg(self) -> np.ndarray | None:
        """Angles of the scan: -180 to 180 degrees in equal steps (the file does not list them)."""
        if not self.n_projections:
            return None
        return np.linspace(-180.0, 180.0, self.n_projections)


def read_grainmapper(path: str | Path, *, y_flip: bool = False) -> MeasuredMap:
    """Read a grain map exported by GrainMapper3D (HDF5, file format version 4).

    Rodrigues vectors are taken as crystal-to-sample rotations; the file's own IPF001 colours agree
    with that. ``Spacing`` and ``Center`` are mm; ``Extent`` is ignored because cropping leaves it
    at its old value.

    Parameters
    ----------
    path : path
    y_flip : bool
        Mirror the sample in y (positions and orientations), for data of the other handedness.

    Raises
    ------
    ScanError
        The file is not a GrainMapper3D grain map.
    """
    import h5py

    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            group = file["LabDCT"]
            data = group["Data"]
            ids = np.asarray(data["GrainId"][()])
            spacing = np.asarray(group["Spacing"][()], float)
            center = np.asarray(group["Center"][()], float)
            rotations, kind = _rotations(data)
            phase = file.get("PhaseInfo/Phase01")
            phase_name = _text(phase["Name"]) if phase is not None else "Al"
            cell = phase["UnitCell"][()] if phase is not None else None
            group_number = int(phase["SpaceGroup"][0]) if phase is not None else 0
            distances = [
                _number(group, name)
                for name in ("SourceToSampleDistance", "SampleToDetectorDistance", "Voltage")
            ]
            projections = _number(group, "NumberOfProjections")
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise ScanError(
            f"{path.name} is not a GrainMapper3D grain map ({' '.join(str(error).split())})."
        ) from None
    if ids.ndim != 3 or not np.allclose(spacing, spacing[0], rtol=1e-3):
        raise ScanError(
            f"{path.name} needs a 3-D map of cubic voxels; its spacing is {spacing} mm."
        )
    if not (ids > 0).any():
        raise ScanError(f"{path.name} holds no grain.")
    if y_flip:
        ids, rotations = ids[:, ::-1], rotations[:, ::-1]
        center = center * [1, -1, 1]
    found, where, labels = np.unique(np.maximum(ids, 0), return_index=True, return_inverse=True)
    labels = labels.reshape(ids.shape).astype(np.int32)
    if found[0] > 0:
        labels += 1
    else:
        found, where = found[1:], where[1:]
    vectors = rotations.reshape(-1, rotations.shape[-1])[where].astype(float)
    orientations = (
        rodrigues_to_matrix(vectors) if kind == "Rodrigues" else quaternions_to_matrices(vectors)
    )
    if y_flip:
        mirror = np.diag([1.0, -1.0, 1.0])
        orientations = mirror @ orientations @ mirror
    grains = GrainMap(labels, float(spacing[0]) * 1e3, orientations, tuple(center.tolist()), found)
    return MeasuredMap(
        grains,
        _phase(phase_name, group_number, cell),
        *distances,
        int(projections) if projections else None,
    )


def _rotations(data) -> tuple[np.ndarray, str]:
    for name in ("Rodrigues", "Quaternion"):
        if name in data:
            return np.asarray(data[name][()]), name
    raise KeyError("no Rodrigues or Quaternion data")


def _number(group, name: str) -> float | None:
    return float(np.ravel(group[name][()])[0]) if name in group else None


def _text(dataset) -> str:
    value = np.ravel(dataset[()])[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _phase(name: str, group_number: int, cell: np.ndarray | None) -> Material:
    """One of the known materials, by name or by cell, with the file's own cell."""
    from dataclasses import replace

    from ..crystal import MATERIALS

    words = {"aluminum": "Al", "aluminium": "Al", "iron": "Fe", "nickel": "Ni", "copper": "Cu"}
    words |= {"titanium": "Ti", "silicon": "Si"}
    key = words.get(name.strip().lower(), name.strip())
    if key not in MATERIALS:
        close = [m for m in MATERIALS if cell is not None and _same_cell(m, cell)]
        if not close:
            raise ScanError(
                f"The phase '{name}' (space group {group_number}) is not known; give a CIF file."
            )
        key = close[0]
    known = find_material(key)
    return known if cell is None else replace(known, cell=tuple(float(v) for v in cell))


def _same_cell(name: str, cell: np.ndarray) -> bool:
    return bool(np.allclose(find_material(name).cell, cell, rtol=0.005))


def write_grainmapper(
    path: str | Path,
    grains: GrainMap,
    material: Material,
    *,
    source_sample_mm: float | None = None,
    sample_detector_mm: float | None = None,
    tube_kv: float | None = None,
    n_projections: int | None = None,
) -> Path:
    """Write a grain map in GrainMapper3D's layout (format version 4).

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import gemmi

    path = Path(path)
    spacing = np.full(3, grains.voxel_um * 1e-3)
    ids = np.concatenate([[0], grains.grain_ids]).astype(np.int32)[grains.labels]
    vectors = np.concatenate([np.zeros((1, 3)), matrix_to_rodrigues(grains.orientations)])
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
            "Rodrigues": vectors.astype(np.float32)[grains.labels],
            "PhaseId": inside,
            "Mask": inside,
            "Completeness": inside.astype(np.float32),
        }
        for name, volume in volumes.items():
            group.create_dataset(f"Data/{name}", data=volume, compression="gzip")
        phase = file.create_group("PhaseInfo/Phase01")
        phase["Name"] = np.array([material.name.encode()])
        phase["UnitCell"] = np.array(material.cell, float)
        number = gemmi.find_spacegroup_by_name(material.space_group).number
        phase["SpaceGroup"] = np.array([number], np.int32)
        phase["UniversalHermannMauguin"] = np.array([material.space_group.encode()])
    return path
