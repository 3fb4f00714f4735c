"""``scan.yaml``: what is known of a scan, beside its data, with units in the names."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..core.errors import ScanError, SettingsError, listed, quoted, reason
from ..core.files import write_atomically
from ..scan.description import NO_MASK, ScanDescription
from ..scan.scan import Scan, angles
from .angle_log import read_angles
from .regular import read_bytes

FILE_NAME = "scan.yaml"
_OTHER_NAME = "scan.yml"
_MOST_ENTRIES = 1_000_000
_MOST_BYTES = 2 << 20
_ENTRIES = ("frames", "omega_deg", "omega_csv")  # beside those of ScanDescription


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # C: 20 times as fast
    """As `yaml.SafeLoader`, but merged mappings do not grow without end."""

    _merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        self._merged += len(node.value)
        if self._merged > _MOST_ENTRIES:
            raise yaml.YAMLError("its merged mappings are too large")


@dataclass(frozen=True)
class ScanFile:
    """The content of one ``scan.yaml``.

    Parameters
    ----------
    frames : list of str
        File name patterns, relative to the file or absolute.
    omega : dict, list or None
        ``{start, step}`` or one angle a projection, degrees.
    description : ScanDescription
    """

    frames: list[str] = field(default_factory=list)
    omega: dict[str, float] | list[float] | None = None
    description: ScanDescription = field(default_factory=ScanDescription)

    def omega_deg(self, n_frames: int) -> np.ndarray | None:
        """The angles of `n_frames` projections, or None if the file gives none."""
        if isinstance(self.omega, dict):
            return angles(self.omega["start"], self.omega["step"], n_frames)
        return None if self.omega is None else np.asarray(self.omega, float)


def description_file(folder: Path) -> Path | None:
    """The ``scan.yaml``, or else ``scan.yml``, of a folder; None if it has neither."""
    found = [folder / name for name in (FILE_NAME, _OTHER_NAME) if (folder / name).exists()]
    return found[0] if found else None


def read_scan_yaml(path: str | Path) -> ScanFile:
    """Read a ``scan.yaml``.

    Raises
    ------
    ScanError
        It is not YAML, has an unknown entry or a value that makes no sense.
    """
    path = Path(path)
    try:
        content = yaml.load(read_bytes(path, _MOST_BYTES).decode("utf-8"), _Loader) or {}
    except ScanError:
        raise
    except Exception as error:  # YAML's makers of dates, numbers... fail in their own ways
        why = "it is nested too deep" if isinstance(error, RecursionError) else reason(error)
        raise ScanError(f"{path} cannot be read as YAML ({why}); correct it.") from error
    if not isinstance(content, dict):
        raise ScanError(f"{path} must hold 'name: value' lines, such as 'pixel_um: 3.36'.")
    content = dict(content)
    frames = _read_frames(path, content.pop("frames", None))
    omega = _read_omega(path, content.pop("omega_deg", None), content.pop("omega_csv", None))
    known = sorted([*(f.name for f in fields(ScanDescription)), *_ENTRIES])
    for name in content:
        if name not in known:
            raise ScanError(
                f"{path}: {quoted(name)} is not a setting of scan; "
                f"the settings are {listed(known)}."
            )
    for name in _file_entries(content):
        # As every name in the file, relative to its folder, wherever the command is started.
        content[name] = str(path.absolute().parent / Path(content[name].strip()).expanduser())
    try:
        description = ScanDescription.from_dict(content)
    except SettingsError as error:
        raise ScanError(f"{path}: {error}") from error
    return ScanFile(frames, omega, description)


def _file_entries(content: dict[str, Any]) -> list[str]:
    """Entries of a description that name a file: a CIF as material, an image as mask."""
    crystal, mask = content.get("material"), content.get("mask")
    is_cif = isinstance(crystal, str) and crystal.strip().lower().endswith(".cif")
    is_image = isinstance(mask, str) and mask.strip().lower() not in ("", NO_MASK)
    return ["material"] * is_cif + ["mask"] * is_image


def _read_frames(path: Path, frames: Any) -> list[str]:
    if frames is None:
        return []
    patterns = [frames] if isinstance(frames, str) else frames
    if not isinstance(patterns, list) or not all(isinstance(p, str) and p for p in patterns):
        raise ScanError(
            f"{path}: frames must be a file name or a list of them, such as 'proj*.tif'."
        )
    return patterns


def _read_omega(path: Path, omega: Any, csv_name: Any) -> dict | list | None:
    if not isinstance(csv_name, str | None):
        raise ScanError(f"{path}: omega_csv must be a file name, such as 'angles.csv'.")
    if omega is None and csv_name:
        listed_in = path.parent / csv_name
        try:
            ours = listed_in.resolve().is_relative_to(path.parent.resolve())
        except (OSError, ValueError, RuntimeError):  # a null byte, a link to itself
            raise ScanError(f"{path}: omega_csv {quoted(csv_name)} is no file name.") from None
        return read_angles(listed_in, show=ours)
    if isinstance(omega, dict):
        try:
            return {"start": float(omega["start"]), "step": float(omega["step"])}
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ScanError(f"{path}: omega_deg needs {{start: , step: }} in degrees.") from None
    if omega is None:
        return None
    try:
        if isinstance(omega, str):
            raise TypeError
        return [float(v) for v in omega]
    except (TypeError, ValueError, OverflowError):
        raise ScanError(f"{path}: omega_deg must be a list of degrees or start and step.") from None


def write_scan_yaml(path: str | Path, scan: Scan, frames: list[str] | None = None) -> Path:
    """Write what is known of a scan, readable by `read_scan_yaml`.

    Parameters
    ----------
    path : path
        Usually ``scan.yaml`` beside the data.
    scan : Scan
    frames : list of str, optional
        File names or patterns relative to `path`.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = Path(path)
    content: dict[str, Any] = {}
    if frames:
        content["frames"] = frames
    if scan.omega_deg is not None:
        omega = scan.omega_deg
        step = float(omega[1] - omega[0]) if omega.size > 1 else 0.0
        if omega.size > 1 and np.allclose(omega, angles(omega[0], step, omega.size), atol=1e-6):
            content["omega_deg"] = {"start": float(omega[0]), "step": round(step, 9)}
        else:
            content["omega_deg"] = [float(v) for v in omega]
    defaults = ScanDescription().to_dict()
    content |= {k: v for k, v in scan.description.to_dict().items() if v != defaults.get(k)}
    for name in _file_entries(content):
        folder, file = path.absolute().parent, Path(content[name]).absolute()
        inside = file.is_relative_to(folder)
        # Beside the scan it moves with the folder; elsewhere it stays where it is.
        content[name] = str(file.relative_to(folder) if inside else file)
    write_atomically(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None))
    return path


def update_scan_yaml(path: str | Path, changes: dict[str, Any]) -> Path:
    """Change entries of a ``scan.yaml``; the file as it was is kept beside it.

    Parameters
    ----------
    path : path
    changes : dict
        New values by entry; None takes an entry away.

    Returns
    -------
    Path
        Where the old file is: ``scan.yaml.old``, or with a number if there is one already.

    Raises
    ------
    ScanError
        The file cannot be read, or would not be one of ours any more.
    OutputError
        The folder cannot be written.
    """
    path = Path(path)
    read_scan_yaml(path)
    before = read_bytes(path, _MOST_BYTES)
    content = dict(yaml.safe_load(before.decode("utf-8")) or {})
    for name, value in changes.items():
        content.pop(name, None)
        if value is not None:
            content[name] = value
    old, number = path.with_name(path.name + ".old"), 1
    while old.exists():
        number += 1
        old = path.with_name(f"{path.name}.old{number}")
    write_atomically(old, before)
    write_atomically(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None))
    return old
