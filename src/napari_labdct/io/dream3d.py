"""Grain maps in DREAM.3D's HDF5 files: those of versions 6 and 7, and of DREAM3D-NX (version 8).

Lengths are taken and written in micrometres, ``ORIGIN`` is the outer corner of the first voxel.
``EulerAngles`` are Bunge's in radians; ``Quats`` (x, y, z, w) are passive, sample to crystal, the
inverse of GrainMapper3D's and ours. The x axis of hexagonal and trigonal crystals is the cell's a
there and a* here, 30 degrees apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError
from ..core.files import atomic_hdf5
from ..core.hdf5 import data_set, has, item, open_hdf5, values
from ..core.rotations import rotation_z
from ..crystal import (
    Material,
    ipf_colour,
    matrices_to_quaternions,
    matrix_to_bunge,
    quaternions_to_matrices,
)
from .grain_phases import FilePhase
from .grainmapper import MapContent, MeasuredMap, say

#: Numbers of Laue classes in ``CrystalStructures``, by gemmi's name of the class.
LAUE_NUMBERS = {
    "6/mmm": 0, "m-3m": 1, "6/m": 2, "m-3": 3, "-1": 4, "2/m": 5, "mmm": 6, "4/m": 7,
    "4/mmm": 8, "-3": 9, "-3m": 10,
}  # fmt: skip
_TURNED = {0, 2, 9, 10}  # whose x axis is a, not a*
_KNOWN_VERSIONS = (6.0, 8.0)
_MOST_PHASES = 1000
_COPIES = 8  # of its numbers, while a map is read


def read_dream3d(path: Path) -> MapContent:
    """What a ``.dream3d`` file holds.

    Raises
    ------
    ScanError
        The file holds no grain map, or what it holds makes no sense.
    """

    def refuse(why: str) -> ScanError:
        return ScanError(f"{path.name} is not a DREAM.3D grain map ({why}).")

    with open_hdf5(path, refuse) as file:
        return _content(path, file)


def _content(path: Path, file: Any) -> MapContent:
    _check_version(path, file)
    group, dimensions, origin, spacing = _geometry(path, file)
    cells = _cell_group(group)
    shape = tuple(int(n) for n in dimensions[::-1])
    ids = _cells(path, cells, "FeatureIds", shape, 1)[..., 0]
    if not (ids > 0).any():
        raise ScanError(f"{path.name} holds no grain; run a segmentation in DREAM.3D first.")
    phase_ids = (ids > 0).astype(np.int64)
    if "Phases" in cells:
        phase_ids = _cells(path, cells, "Phases", shape, 1)[..., 0]
    laue = _laue_classes(group)
    kind, rotations = _rotations(path, cells, shape)
    rotations = _to_our_axes(kind, rotations, phase_ids, laue)
    completeness = None
    for name in ("Completeness", "Confidence", "Confidence Index"):
        if name in cells:
            completeness = _cells(path, cells, name, shape, 1)[..., 0].astype(np.float32)
            break
    scale = _micrometres(path, spacing)
    if not np.allclose(spacing, spacing[0], rtol=1e-3):
        raise ScanError(
            f"{path.name} needs cubic voxels; its spacing is {spacing * scale} um. Resample it in "
            "DREAM.3D."
        )
    center = (origin + spacing * dimensions / 2) * scale * 1e-3
    return MapContent(
        ids.astype(np.int64),
        phase_ids.astype(np.int64),
        rotations,
        kind,
        float(spacing[0] * scale),
        center,
        (None, None, None),
        None,
        _phases(group),
        completeness,
    )


def _check_version(path: Path, file: Any) -> None:
    text = file.attrs.get("FileVersion", b"")
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    try:
        version = float(".".join(text.strip("\0 ").split(".")[:2]) or "nan")
    except ValueError:
        version = float("nan")
    if version >= _KNOWN_VERSIONS[1] + 1:
        say(path, f"its file version {text} is newer than what is known here; it is read as 8.0")
    if version < _KNOWN_VERSIONS[0]:
        raise ScanError(
            f"{path.name} has DREAM.3D's file version {text}; versions 6 to 8 are read. Save it "
            "with a newer DREAM.3D."
        )


def _geometry(path: Path, file: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Group of the image that has grain numbers, with (x, y, z) sizes, origin and spacing."""
    image = None
    for group in _groups(file, "DataContainers"):  # version 6 and 7
        if "_SIMPL_GEOMETRY/DIMENSIONS" in group and _cell_group(group) is not None:
            where = group["_SIMPL_GEOMETRY"]
            spacing = where["SPACING"] if "SPACING" in where else where["RESOLUTION"]
            image = group, where["DIMENSIONS"][()], where["ORIGIN"][()], spacing[()]
            break
    for group in _groups(file, "DataStructure"):  # version 8
        if "_DIMENSIONS" in group.attrs and _cell_group(group) is not None:
            image = group, *(group.attrs[n] for n in ("_DIMENSIONS", "_ORIGIN", "_SPACING"))
            break
    if image is None:
        raise ScanError(f"{path.name} holds no image with FeatureIds, the numbers of grains.")
    triples = [np.ravel(np.asarray(v, float)) for v in image[1:]]
    if any(v.shape != (3,) or not np.isfinite(v).all() for v in triples):
        raise ScanError(f"{path.name}: sizes, origin and spacing must be 3 finite numbers each.")
    if not ((triples[0] >= 1).all() and (triples[2] > 0).all()):
        raise ScanError(f"{path.name}: sizes and spacing must be larger than 0.")
    return image[0], *triples


def _groups(holder: Any, name: str | None = None) -> list[Any]:
    """The groups in a group, or in one of its groups; none if that is not there."""
    if name is not None and not has(holder, name):
        return []
    inside = holder if name is None else item(holder, name)
    held = [item(inside, key) for key in inside] if hasattr(inside, "keys") else []
    return [group for group in held if hasattr(group, "keys")]


def _cell_group(group: Any) -> Any:
    """The attribute matrix of a container that has ``FeatureIds``; None if none has."""
    for matrix in _groups(group):
        ids = item(matrix, "FeatureIds") if has(matrix, "FeatureIds") else None
        if getattr(ids, "ndim", 0) == 4:
            return matrix
    return None


def _cells(path: Path, cells: Any, name: str, shape: tuple, width: int) -> np.ndarray:
    volume = data_set(cells, name, kinds="iufb")
    given = tuple(volume.shape)
    if shape != shape[::-1] and given == (*shape[::-1], width):
        raise ScanError(
            f"{path.name}: {name} is stored as (x, y, z); DREAM.3D's order is (z, y, x), so "
            "transpose it."
        )
    if given != (*shape, width):
        raise ScanError(f"{path.name}: {name} must have the shape {(*shape, width)}, not {given}.")
    return values(cells, name, kinds="iufb", working=_COPIES)


def _rotations(path: Path, cells: Any, shape: tuple) -> tuple[str, np.ndarray]:
    if "EulerAngles" in cells:
        angles = _cells(path, cells, "EulerAngles", shape, 3).astype(np.float32)
        most = np.nanmax(np.abs(angles), initial=0)
        if most > 4 * np.pi:
            raise ScanError(
                f"{path.name}: EulerAngles go up to {most:.0f}, so they are in degrees; DREAM.3D "
                "needs radians."
            )
        return "EulerZXZ", angles
    if "Quats" in cells:
        passive = _cells(path, cells, "Quats", shape, 4).astype(np.float32)
        return "Quaternion", np.concatenate([passive[..., 3:], -passive[..., :3]], axis=-1)
    raise ScanError(f"{path.name} has no orientations: neither EulerAngles nor Quats.")


def _to_our_axes(
    kind: str, rotations: np.ndarray, phase_ids: np.ndarray, laue: np.ndarray
) -> np.ndarray:
    """The crystal's x axis from a to a* where the two differ."""
    for number in np.unique(phase_ids):  # there may be a million classes that no voxel has
        if not 0 <= number < len(laue) or int(laue[number]) not in _TURNED:
            continue
        here = phase_ids == number
        if kind == "EulerZXZ":
            rotations[here, 2] += np.pi / 6
        else:
            turned = quaternions_to_matrices(_unit(rotations[here])) @ rotation_z(30)
            rotations[here] = matrices_to_quaternions(turned)
    return rotations


def _unit(q: np.ndarray) -> np.ndarray:
    zero = ~(np.linalg.norm(q, axis=-1) > 1e-6)
    return np.where(zero[..., None], np.nan, q)


def _laue_classes(group: Any) -> np.ndarray:
    for matrix in _groups(group):
        if has(matrix, "CrystalStructures"):
            return np.ravel(values(matrix, "CrystalStructures", kinds="iu")).astype(int)
    return np.zeros(0, int)


def _phases(group: Any) -> dict[int, FilePhase]:
    """Names and cells by the number of the phase, where the file has both."""
    found: dict[int, FilePhase] = {}
    for matrix in _groups(group):
        if not has(matrix, "CrystalStructures"):
            continue
        called = next((n for n in ("PhaseName", "MaterialName") if has(matrix, n)), None)
        if called is None or not has(matrix, "LatticeConstants"):
            continue
        names = data_set(matrix, called, kinds="SO")
        cells = values(matrix, "LatticeConstants").astype(float)
        groups = values(matrix, "SpaceGroup").ravel() if has(matrix, "SpaceGroup") else []
        if names.ndim < 1 or cells.shape != (len(names), 6):
            continue
        for number in range(1, min(len(names), _MOST_PHASES)):
            name = names[number]
            name = name[0] if isinstance(name, np.ndarray) else name
            name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
            cell = tuple(cells[number].tolist())
            space_group = int(groups[number]) if len(groups) == len(names) else 0
            if not np.isfinite(cell).all() or min(cell[:3]) < 0.5:  # DREAM.3D's place holder
                continue
            space_group = space_group if 0 < space_group <= 230 else 0
            found[number] = FilePhase(name.strip("\0 ")[:80], cell, space_group)
    return found


def _micrometres(path: Path, spacing: np.ndarray) -> float:
    """What turns the file's lengths into micrometres."""
    if spacing[0] >= 0.01:
        return 1.0
    say(path, f"voxels of {spacing[0]:g} cannot be micrometres and are taken as millimetres")
    return 1e3


def write_dream3d(path: Path, measured: MeasuredMap) -> list[Path]:
    """Write a grain map as DREAM.3D 6.5 does (file version 7.0); DREAM3D-NX imports it.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    grains = measured.grains
    phases = list(measured.phases) or [measured.material]
    nz, ny, nx = grains.labels.shape
    spacing = np.full(3, grains.voxel_um, np.float32)
    origin = np.array(grains.center_mm) * 1e3 - spacing * np.array([nx, ny, nz]) / 2
    with atomic_hdf5(path, new_folder=False) as file:
        file.attrs["FileVersion"] = np.bytes_("7.0")
        file.attrs["DREAM3D Version"] = np.bytes_("6.5.171")
        file.create_group("DataContainerBundles")
        image = file.create_group("DataContainers/ImageDataContainer")
        where = image.create_group("_SIMPL_GEOMETRY")
        where["DIMENSIONS"] = np.array([nx, ny, nz], np.int64)
        where["ORIGIN"] = origin.astype(np.float32)
        where["SPACING"] = spacing
        where.attrs["GeometryName"] = np.bytes_("ImageGeometry")
        where.attrs["GeometryTypeName"] = np.bytes_("ImageGeometry")
        where.attrs["GeometryType"] = np.uint32(0)
        where.attrs["SpatialDimensionality"] = np.uint32(3)
        where.attrs["UnitDimensionality"] = np.uint32(3)
        cells = _matrix(image, "CellData", (nx, ny, nz), 3)
        for name, volume in _volumes(measured, phases).items():
            _array(cells, name, volume, (nx, ny, nz))
        ensemble = _matrix(image, "CellEnsembleData", (len(phases) + 1,), 11)
        for name, values in _ensemble(phases).items():
            _array(ensemble, name, values, (len(phases) + 1,))
        names = ["Unknown", *(crystal.name for crystal in phases)]
        ensemble["PhaseName"] = [n.encode() for n in names]
        _describe(ensemble["PhaseName"], "StringDataArray", (len(names),), 1)
    return [path]


def _volumes(measured: MeasuredMap, phases: list[Material]) -> dict[str, np.ndarray]:
    grains, labels = measured.grains, measured.grains.labels
    number = np.concatenate([[0], grains.phases + 1]).astype(np.int32)[labels]
    angles = np.zeros((len(grains.orientations) + 1, 3), np.float32)
    passive = np.zeros((len(grains.orientations) + 1, 4), np.float32)
    passive[0, 3] = 1
    colours = np.zeros((len(grains.orientations) + 1, 3), np.uint8)
    for phase, crystal in enumerate(phases):
        of = np.flatnonzero(grains.phases == phase)
        turned = grains.orientations[of] @ _to_their_axes(crystal)
        angles[of + 1], passive[of + 1] = _words(turned)
        colours[of + 1] = np.round(ipf_colour(grains.orientations[of], crystal.symmetry) * 255)
    euler, quats = angles[labels], passive[labels]
    if measured.rotations is not None:
        for phase, crystal in enumerate(phases):
            known = (number == phase + 1) & np.isfinite(measured.rotations).all(axis=-1)
            u = quaternions_to_matrices(measured.rotations[known]) @ _to_their_axes(crystal)
            euler[known], quats[known] = _words(u)
    inside = labels > 0
    completeness = inside if measured.completeness is None else measured.completeness
    return {
        "FeatureIds": np.concatenate([[0], grains.grain_ids]).astype(np.int32)[labels],
        "Phases": number,
        "EulerAngles": euler,
        "Quats": quats,
        "IPFColor": colours[labels],
        "Completeness": completeness.astype(np.float32),
        "Mask": inside.astype(np.uint8),
    }


def _to_their_axes(crystal: Material) -> np.ndarray:
    return rotation_z(-30) if _laue(crystal) in _TURNED else np.eye(3)


def _words(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bunge angles in radians and passive quaternions (x, y, z, w)."""
    q = matrices_to_quaternions(u)
    return np.radians(matrix_to_bunge(u)), np.concatenate([-q[..., 1:], q[..., :1]], axis=-1)


def _laue(crystal: Material) -> int:
    import gemmi

    group = gemmi.find_spacegroup_by_name(crystal.space_group)
    return LAUE_NUMBERS[group.laue_str()]


def _ensemble(phases: list[Material]) -> dict[str, np.ndarray]:
    import gemmi

    groups = [gemmi.find_spacegroup_by_name(crystal.space_group).number for crystal in phases]
    return {
        "CrystalStructures": np.array([999, *(_laue(c) for c in phases)], np.uint32),
        "PhaseTypes": np.array([999, *([0] * len(phases))], np.uint32),
        "LatticeConstants": np.array([[0] * 6, *(c.cell for c in phases)], np.float32),
        "SpaceGroup": np.array([0, *groups], np.int32),
    }


def _matrix(image: Any, name: str, tuples: tuple[int, ...], kind: int) -> Any:
    group = image.create_group(name)
    group.attrs["AttributeMatrixType"] = np.uint32(kind)
    group.attrs["TupleDimensions"] = np.array(tuples, np.uint64)
    return group


_TYPES = {"int32": "int32_t", "uint32": "uint32_t", "uint8": "uint8_t", "float32": "float"}


def _array(group: Any, name: str, values: np.ndarray, tuples: tuple[int, ...]) -> None:
    if values.ndim == len(tuples):
        values = values[..., None]
    data = group.create_dataset(name, data=values, compression="gzip" if values.ndim > 2 else None)
    _describe(data, f"DataArray<{_TYPES[values.dtype.name]}>", tuples, values.shape[-1])


def _describe(data: Any, kind: str, tuples: tuple[int, ...], width: int) -> None:
    data.attrs["ObjectType"] = np.bytes_(kind)
    data.attrs["DataArrayVersion"] = np.int32(2)
    data.attrs["ComponentDimensions"] = np.array([width], np.uint64)
    data.attrs["TupleDimensions"] = np.array(tuples, np.uint64)
    axes = ",".join(f"{axis}={size}" for axis, size in zip("xyz", tuples, strict=False))
    data.attrs["Tuple Axis Dimensions"] = np.bytes_(axes)
