"""What `scan.yaml` says of a scan: angles, distances, detector, material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..core.errors import SettingsError, quoted
from ..core.parameters import Param, Settings

Polygon = tuple[tuple[float, float], ...]

#: As the mask: every pixel is measured, whatever it looks like.
NO_MASK = "none"

#: Corners of a beam stop, all polygons together; more would take minutes in every projection.
MOST_CORNERS = 10_000


#: What the fields of a scan are called in a sentence.
LABELS = {
    "omega_deg": "rotation angles",
    "pixel_um": "pixel size",
    "source_sample_mm": "source distance",
    "sample_detector_mm": "detector distance",
    "tube_kv": "tube voltage",
    "material": "material",
    "beam_stop_px": "beam stop",
    "detector_center_px": "detector centre",
    "mask": "detector mask",
}


@dataclass(frozen=True, kw_only=True)
class ScanDescription(Settings):
    """What ``scan.yaml`` says of a scan; everything is optional.

    Parameters
    ----------
    detector_center_px : (row, col), optional
        Where the optical axis meets the detector; the image centre if not given.
    detector_tilt_deg : (x, y, z)
        Detector tilts about the lab axes.
    beam_stop_px : tuple of polygons
        Shadows of the beam stop; each polygon is ``((row, col), ...)``.
    mask : tuple of polygons, or str, optional
        Pixels that carry no information: polygons that are added to what is found; or the name of
        an image of the size of a projection, not 0 where pixels are left out, which is taken as it
        is; or ``"none"``. Found in the projections if not given.
    """

    job: ClassVar[str] = "scan"

    pixel_um: Annotated[
        float | None,
        Param("Pixel size", "um", 0.01, 1000, 0.01, "Effective size of a pixel as stored."),
    ] = None
    source_sample_mm: Annotated[
        float | None, Param("Source to sample", "mm", 0.1, 5000, 0.1, "X-ray source to axis.")
    ] = None
    sample_detector_mm: Annotated[
        float | None, Param("Sample to detector", "mm", 0.1, 5000, 0.1, "Axis to detector.")
    ] = None
    tube_kv: Annotated[
        float | None, Param("Tube voltage", "kV", 10, 500, 5, "Accelerating voltage.")
    ] = None
    material: Annotated[
        str | None, Param("Material", help="Element symbol or CIF file, for example Fe.")
    ] = None
    exposure_s: Annotated[
        float | None,
        Param("Exposure", "s", 0.0, 1e5, 1, "Exposure of one projection.", advanced=True),
    ] = None
    binning: Annotated[
        int | None,
        Param("Binning", "px", 1, 16, 1, "Detector pixels binned into one.", advanced=True),
    ] = None
    detector_center_px: tuple[float, float] | None = None
    detector_tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beam_stop_px: tuple[Polygon, ...] = ()
    mask: tuple[Polygon, ...] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        center = self.detector_center_px
        if center is not None:
            object.__setattr__(self, "detector_center_px", _numbers(center, 2, "Detector centre"))
        tilt = _numbers(self.detector_tilt_deg, 3, "Detector tilt")
        object.__setattr__(self, "detector_tilt_deg", tilt)
        object.__setattr__(self, "beam_stop_px", _polygons(self.beam_stop_px, "beam stop"))
        object.__setattr__(self, "mask", _mask(self.mask))

    def to_dict(self) -> dict[str, Any]:
        """As `Settings.to_dict`; without the mask where there is none, so that hashes stay."""
        values = super().to_dict()
        if self.mask is None:
            del values["mask"]
        return values


def _numbers(values: Any, count: int, what: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        raise SettingsError(f"{what} must be {count} numbers, not {quoted(values)}.")
    return numbers


def _mask(value: Any) -> tuple[Polygon, ...] | str | None:
    if value is False or (isinstance(value, str) and value.strip().lower() == NO_MASK):
        return NO_MASK
    if isinstance(value, str):
        return value.strip() or None
    if value is True or isinstance(value, (int, float)):
        raise SettingsError(
            f"The detector mask must be a file name, polygons or '{NO_MASK}', not {quoted(value)}."
        )
    return _polygons(value, "detector mask") or None


def _pair(value: Any, what: str) -> tuple[float, float]:
    row, col = _numbers(value, 2, what)
    return row, col


def _polygons(value: Any, what: str) -> tuple[Polygon, ...]:
    """Accept one polygon or several; a polygon is at least three (row, col) pairs."""
    if not value:
        return ()
    corner = f"{what.capitalize().replace(' ', '-')} corner"
    try:
        one = np.ndim(value[0][0]) == 0
        polygons = [value] if one else list(value)
        made = tuple(tuple(_pair(p, corner) for p in poly) for poly in polygons)
    except SettingsError:
        raise
    except (TypeError, IndexError, KeyError, ValueError):
        raise SettingsError(
            f"The {what} must be a list of [row, col], not {quoted(value)}."
        ) from None
    if sum(map(len, made)) > MOST_CORNERS:
        raise SettingsError(f"The {what} has more than {MOST_CORNERS} corners; draw it with fewer.")
    if any(len(poly) < 3 for poly in made):
        raise SettingsError(
            f"A {what.replace(' ', '-')} polygon needs at least three [row, col] corners."
        )
    return made
