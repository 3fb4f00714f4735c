"""Numbers of a set-up that no laboratory has: said with the likely unit, never changed.

What cannot exist (below zero, not a number) is refused where a description is made; what merely
cannot be meant (a pixel of 134 um, typed in nm or with a lost comma) is told here, in the same
words to the command line and to the Scan dock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.errors import LabDCTError
from .scan import Scan


@dataclass(frozen=True)
class _Usual:
    """What laboratories have, and the slips of unit that lead out of it."""

    label: str
    unit: str
    low: float
    high: float
    below: str
    above: str
    slips: tuple[tuple[float, str], ...] = ()


# A slip is (factor from the typed number to the meant one, unit that was typed).
_LENGTH_SLIPS = ((1000.0, "m"), (10.0, "cm"), (0.001, "um"))
_USUAL = {
    "pixel_um": _Usual("Pixel size", "um", 0.1, 200, "smaller than any detector pixel",
                       "larger than the pixels of detectors used for LabDCT",
                       ((1000.0, "mm"), (0.001, "nm"), (0.1, ""), (0.01, ""))),
    "source_sample_mm": _Usual("Source to sample", "mm", 2, 1500, "shorter than any set-up",
                               "longer than a laboratory instrument", _LENGTH_SLIPS),
    "sample_detector_mm": _Usual("Sample to detector", "mm", 2, 2000, "shorter than any set-up",
                                 "longer than a laboratory instrument", _LENGTH_SLIPS),
    "tube_kv": _Usual("Tube voltage", "kV", 20, 300, "too low for X-rays that pass a metal",
                      "higher than laboratory tubes", ((0.001, "V"),)),
    "exposure_s": _Usual("Exposure", "s", 0.01, 3600, "shorter than LabDCT projections",
                         "longer than LabDCT projections", ((0.001, "ms"),)),
}  # fmt: skip


def implausible(scan: Scan) -> dict[str, str]:
    """A sentence for each value of a description that can hardly be meant.

    Returns
    -------
    dict of str to str
        Name of the field of `ScanDescription` to sentence; empty if all is plausible.
    """
    found = {}
    for name, usual in _USUAL.items():
        value = getattr(scan.description, name)
        if value is not None and not usual.low <= value <= usual.high:
            found[name] = _unusual(value, usual)
    return {**found, **_unknown_material(scan), **_outside(scan), **_spots_too_wide(scan, found)}


def _unusual(value: float, usual: _Usual) -> str:
    why = usual.below if value < usual.low else usual.above
    text = f"{usual.label}: {value:g} {usual.unit} is {why}"
    for factor, typed in usual.slips:
        meant = value * factor
        # the first number must lead well into the usual range, in the right direction
        if (factor > 1) == (value < usual.low) and usual.low <= meant <= usual.high:
            as_typed = f" ({value:g} {typed})" if typed else ""
            return f"{text}; did you mean {meant:.6g} {usual.unit}{as_typed}?"
    return f"{text}; usual are {usual.low:g} to {usual.high:g} {usual.unit}."


def _unknown_material(scan: Scan) -> dict[str, str]:
    from ..crystal import material

    name = scan.description.material
    if not name:
        return {}
    try:
        material(name)
    except LabDCTError as error:
        return {"material": str(error)}
    return {}


def _outside(scan: Scan) -> dict[str, str]:
    """A detector centre or a beam stop that no pixel of the image is near."""
    d, (rows, cols) = scan.description, scan.shape
    found = {}
    if d.detector_center_px is not None:
        row, col = d.detector_center_px
        if not (-0.5 <= row <= rows - 0.5 and -0.5 <= col <= cols - 0.5):
            found["detector_center_px"] = (
                f"Detector centre: ({row:g}, {col:g}) px lies outside the image of "
                f"{rows} x {cols}; give row, column in pixels, counted from 0 at the first pixel."
            )
    for polygon in d.beam_stop_px:
        corners = np.asarray(polygon)
        if (corners.max(0) < 0).any() or (corners.min(0) > (rows, cols)).any():
            found["beam_stop_px"] = "A beam stop lies outside the image; correct or remove it."
    return found


def detector_mm(scan: Scan) -> tuple[float, float] | None:
    """Height and width of the detector's image in mm, or None without a pixel size."""
    pixel = scan.description.pixel_um
    rows, cols = scan.shape
    return None if pixel is None else (rows * pixel * 1e-3, cols * pixel * 1e-3)


def _spots_too_wide(scan: Scan, found: dict[str, str]) -> dict[str, str]:
    """An image of metres across: the pixel size fits the numbers, but no detector."""
    size = detector_mm(scan)
    if size is None or "pixel_um" in found or max(size) <= 600:
        return {}
    return {
        "pixel_um": f"Pixel size: {scan.description.pixel_um:g} um makes the image "
        f"{max(size) / 1000:.2g} m wide; check the unit and the binning."
    }


def spot_circle_mm(scan: Scan) -> float | None:
    """Diameter in mm, at the detector, of the circle that diffracted beams fill at low angles.

    Beams of up to 2 theta = 20 degrees, where those of a metal at laboratory energies are
    strong, reach ``2 * sample_detector * tan(2 theta)``.  None without the distance.
    """
    distance = scan.description.sample_detector_mm
    return None if distance is None else 2 * distance * math.tan(math.radians(20))


def meaning(scan: Scan) -> list[str]:
    """What the numbers come to, so that a slip shows: sizes of image and spot circles.

    Returns
    -------
    list of str
        A sentence each.
    """
    said = []
    size = detector_mm(scan)
    if size is not None:
        said.append(f"Image {_length(size[0])} high, {_length(size[1])} wide")
    circle = spot_circle_mm(scan)
    if circle is not None:
        said.append(f"Spot circles up to {_length(circle)} wide (2 theta up to 20 deg)")
    return said


def about_values(scan: Scan) -> list[str]:
    """What is odd about the pixels of three projections: saturated ones, and a sign that was lost.

    Returns
    -------
    list of str
        A sentence each; masks of 8 bit are never saturated.
    """
    if scan.dtype.kind not in "ui" or scan.dtype.itemsize < 2:
        return []
    top, said = int(np.iinfo(scan.dtype).max), []
    for index in sorted({0, scan.n_frames // 2, scan.n_frames - 1}):
        frame = scan.frame(index)
        count = int(np.count_nonzero(frame == top))
        if count:
            said.append(
                f"Projection {index} has {count} saturated pixel{'s' if count > 1 else ''} ({top}, "
                "the largest value); their intensity is a lower bound."
            )
        if scan.dtype.kind == "i" and int(frame.min()) < -(top // 16):
            said.append(
                f"Projection {index} holds values down to {int(frame.min())}; counts without a "
                "sign may have been stored as signed numbers."
            )
    return said


def _length(mm: float) -> str:
    return f"{mm / 1000:.3g} m" if mm >= 1000 else f"{mm:.3g} mm"
