"""``scan.yaml``: what is known of a scan, beside its data, with units in the names."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import ScanError, SettingsError
from ..jobs import write_atomically
from ..scan import Scan, ScanDescription, angles

FILE_NAME = "scan.yaml"


@dataclass(frozen=True)
class ScanFile:
    """The content of one ``scan.yaml``.

    Parameters
    ----------
    frames : list of str
        File name patterns relative to the file.
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


def read_scan_yaml(path: str | Path) -> ScanFile:
    """Read a ``scan.yaml``.

    Raises
    ------
    ScanError
        It is not YAML, has an unknown entry or a value that makes no sense.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise ScanError(f"{path} cannot be read as YAML ({detail}); correct it.") from error
    if not isinstance(content, dict):
        raise ScanError(f"{path} must hold 'name: value' lines, such as 'pixel_um: 3.36'.")
    content = dict(content)
    frames = content.pop("frames", [])
    omega = _read_omega(path, content.pop("omega_deg", None), content.pop("omega_csv", None))
    try:
        description = ScanDescription.from_dict(content)
    except SettingsError as error:
        raise ScanError(f"{path}: {error}") from error
    patterns = [frames] if isinstance(frames, str) else [str(f) for f in frames or []]
    return ScanFile(patterns, omega, description)


def _read_omega(path: Path, omega: Any, csv_name: str | None) -> dict | list | None:
    if omega is None and csv_name:
        return read_angles_csv(path.parent / csv_name)
    if isinstance(omega, dict):
        try:
            return {"start": float(omega["start"]), "step": float(omega["step"])}
        except (KeyError, TypeError, ValueError):
            raise ScanError(f"{path}: omega_deg needs {{start: , step: }} in degrees.") from None
    if omega is None:
        return None
    try:
        return [float(v) for v in omega]
    except (TypeError, ValueError):
        raise ScanError(f"{path}: omega_deg must be a list of degrees or start and step.") from None


def read_angles_csv(path: str | Path) -> list[float]:
    """Angles in degrees from the last column of a CSV file; a header line is passed over.

    Raises
    ------
    ScanError
        The file is missing or a line holds no number.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row and row[-1].strip()]
    except OSError as error:
        raise ScanError(f"{path} cannot be read ({error.strerror}).") from error
    values = []
    for number, row in enumerate(rows):
        try:
            values.append(float(row[-1]))
        except ValueError:
            if number == 0:
                continue
            raise ScanError(f"{path}, line {number + 1}: '{row[-1]}' is not an angle.") from None
    return values


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
    content |= {k: v for k, v in scan.description.to_dict().items() if v != defaults[k]}
    write_atomically(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None))
    return path
