"""What a file says of its scan, gathered value by value: units are converted, nonsense is said.

A value that cannot be is left out with a sentence in the notes, so that the scan opens without it.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ..core.errors import ScanError, SettingsError, quoted
from ..scan.description import LABELS, ScanDescription
from ..scan.knowledge import FileKnowledge
from ..scan.scan import Scan

#: One frame of more is no projection but a damaged header, or a bomb.
MOST_FRAME_BYTES = 1 << 31
_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "nm": 1e-6}
_UM = {unit: factor * 1e3 for unit, factor in _MM.items()}
_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}
_KV = {"kV": 1.0, "V": 1e-3, "keV": 1.0, "eV": 1e-3}
_UNITS = {"pixel_um": _UM, "source_sample_mm": _MM, "sample_detector_mm": _MM, "exposure_s": _S,
          "tube_kv": _KV}  # fmt: skip
_DEG = {"deg": 1.0, "rad": 180 / np.pi, "mrad": 0.18 / np.pi}
_OTHER_NAMES = {
    "µm": "um", "μm": "um", "\\u00B5m": "um", "micron": "um", "microns": "um", "micrometer": "um",
    "micrometre": "um", "millimeter": "mm", "millimetre": "mm", "centimeter": "cm", "meter": "m",
    "metre": "m", "meters": "m", "nanometer": "nm", "nanometre": "nm", "second": "s",
    "seconds": "s", "sec": "s", "millisecond": "ms", "microsecond": "us", "nanosecond": "ns",
    "minute": "min", "degree": "deg", "degrees": "deg", "°": "deg", "radian": "rad",
    "radians": "rad", "kv": "kV", "v": "V", "kev": "keV", "ev": "eV", "volt": "V",
    "kilovolt": "kV", "mm.": "mm",
}  # fmt: skip


def needed(module: str, package: str, what: str) -> ModuleType:
    """A library that is not installed with this package unless asked for.

    Raises
    ------
    ScanError
        It is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ScanError(
            f"{what} needs the package {package}; run 'pip install {package}' and open it again."
        ) from None


def unit_of(unit: Any) -> str:
    """The usual short name of a unit, however it is written; empty if it is not given."""
    if isinstance(unit, np.ndarray):
        unit = unit.ravel()[0] if unit.size else ""
    text = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit or "")
    text = text.strip()
    return _OTHER_NAMES.get(text, _OTHER_NAMES.get(text.lower(), text))


def check_frame(name: str, rows: int, cols: int, dtype: np.dtype) -> None:
    """Refuse frames that nobody has: empty, not grey levels, or larger than memory.

    Raises
    ------
    ScanError
    """
    if min(rows, cols) < 1:
        raise ScanError(f"{name} declares projections of {rows} x {cols} pixels; it is damaged.")
    if np.dtype(dtype).kind not in "uifb":
        raise ScanError(f"{name} holds {dtype} values; projections must be grey levels.")
    if rows * cols * np.dtype(dtype).itemsize > MOST_FRAME_BYTES:
        raise ScanError(
            f"{name} declares projections of {rows} x {cols} pixels, more than 2 GB each; it is "
            "damaged or no scan."
        )


class Facts:
    """What one file says; `scan` makes the scan of it.

    Parameters
    ----------
    name : str
        Of the file, for the sentences.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.omega_deg: np.ndarray | None = None
        self.values: dict[str, Any] = {}
        self.notes: list[str] = []
        self.details: list[tuple[str, str]] = []
        self.inside = ""

    def note(self, sentence: str) -> None:
        """Something that the user should know, said once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def detail(self, label: str, value: Any) -> None:
        """Something else that the file tells; empty values are left out."""
        text = " ".join(str(value).split()).strip("\0 ")
        if value is not None and text:
            self.details.append((label, text[:200]))

    def take(self, name: str, value: Any, unit: str | None = None) -> None:
        """A value of `ScanDescription`, converted to the unit in its name.

        Parameters
        ----------
        name : str
            The field.
        value : number or None
            None if the file does not say it.
        unit : str, optional
            As the file writes it; None where the format fixes the unit of the field.
        """
        if value is None:
            return
        label = LABELS.get(name, name.replace("_", " "))
        try:
            number = float(np.ravel(np.asarray(value, float))[0])
        except (TypeError, ValueError, IndexError, OverflowError):
            self.note(f"{self.name} gives the {label} as {quoted(value)}; enter it yourself.")
            return
        if unit is not None:
            factor = _UNITS[name].get(unit_of(unit))
            if factor is None:
                said = f"in {quoted(unit)}" if unit_of(unit) else "without a unit"
                self.note(f"{self.name} gives the {label} {said} ({number:g}); enter it yourself.")
                return
            number *= factor
        number = float(f"{number:.6g}")  # what is stored with 32 bits has no more digits
        whole = int(number) if name == "binning" and number.is_integer() else number
        try:
            ScanDescription.from_dict({name: whole})
        except SettingsError:
            self.note(f"{self.name} gives the {label} as {number:g}, which cannot be; enter it.")
            return
        self.values[name] = whole

    def angles(self, values: Any, n_frames: int, unit: str | None = None) -> None:
        """The rotation angle of each projection.

        Parameters
        ----------
        values : sequence of numbers or None
            Too few or too many are said, and the scan opens without angles.
        n_frames : int
        unit : str, optional
            As the file writes it; degrees where the format says so.
        """
        if values is None:
            return
        values = np.asarray(values)
        single = values.dtype == np.float32
        omega = values.astype(float).ravel()
        if unit is not None:
            factor = _DEG.get(unit_of(unit))
            if factor is None and unit_of(unit):
                self.note(f"{self.name} gives the angles in {quoted(unit)}; enter them yourself.")
                return
            if factor is None:
                self.note(f"{self.name} gives the angles without a unit; degrees are taken.")
            omega = omega * (factor or 1.0)
        if omega.size < n_frames:
            first, last = omega.size, n_frames - 1
            which = f"{first} to {last} have" if first < last else f"{last} has"
            self.note(
                f"{self.name} holds {omega.size} angles for {n_frames} projections, so projection"
                f"{'s' if first < last else ''} {which} none; enter the angles yourself."
            )
            return
        if omega.size > n_frames:
            self.note(f"{self.name} holds {omega.size} angles, of which the last "
                      f"{omega.size - n_frames} belong to no projection.")  # fmt: skip
            omega = omega[:n_frames]
        wrong = np.flatnonzero(~np.isfinite(omega))
        if wrong.size:
            self.note(
                f"{self.name}: the angle of projection {wrong[0]} is not a number; enter the "
                "angles yourself."
            )
            return
        self.omega_deg = np.round(omega, 5) if single else np.round(omega, 9)

    def entries(self, told: Mapping[str, Any], n_frames: int) -> None:
        """What `entries_of` wrote into a file of ours."""
        for name in _UNITS.keys() | {"binning"}:
            self.take(name, told.get(name))
        material = told.get("material")
        if isinstance(material, str) and material:
            self.values["material"] = material
        center = told.get("detector_center_px")
        if isinstance(center, (list, tuple)) and len(center) == 2:
            with contextlib.suppress(SettingsError):
                known = ScanDescription(detector_center_px=tuple(center))
                self.values["detector_center_px"] = known.detector_center_px
        omega = told.get("omega_deg")
        if isinstance(omega, (list, tuple)):
            try:
                self.angles(np.asarray(omega, float), n_frames)
            except (TypeError, ValueError):
                self.note(f"{self.name} holds angles that are no numbers; enter them yourself.")

    def scan(self, frames: Any, name: str, orientation: int = 1, **more: Any) -> Scan:
        """The scan, with what was gathered."""
        if self.omega_deg is not None and self.omega_deg.size != frames.shape[0]:
            self.omega_deg = None
        known = FileKnowledge(details=tuple(self.details), inside=self.inside)
        return Scan(
            frames,
            omega_deg=self.omega_deg,
            description=ScanDescription.from_dict(self.values),
            name=name,
            orientation=orientation,
            notes=tuple(self.notes),
            known=known,
            **more,
        )


#: What only `scan.yaml` holds: polygons, and names of files beside it.
_OURS = ("beam_stop_px", "mask")


def entries_of(scan: Scan) -> dict[str, Any]:
    """What is known of a scan as plain values, for files that have a place for such."""
    default, known = ScanDescription().to_dict(), scan.description.to_dict()
    told = {k: v for k, v in known.items() if v != default[k] and k not in _OURS}
    if scan.omega_deg is not None:
        told["omega_deg"] = [float(v) for v in scan.omega_deg]
    return {**told, "orientation": scan.orientation}
