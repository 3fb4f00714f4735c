"""Choosing spots from a table: by conditions, by a region of the detector, by likeness."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..core.errors import SettingsError, listed, quoted
from ..core.spot_words import WORDS
from ..scan.scan import Scan

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==|=|<|>)\s*([\w.,+-]+)\s*$")
_OPERATORS = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "=": np.equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
#: What two spots have in common when they look alike.
LIKENESS = ("area_px", "length_px", "width_px", "peak", "snr", "confidence")


def where(table: np.ndarray, text: str) -> np.ndarray:
    """Rows that fulfil conditions such as ``snr > 5 and area_px >= 4 and found_by = network``.

    Parameters
    ----------
    table : structured array (k,)
    text : str
        Conditions ``column operator value`` joined by ``and`` or commas; words are written as
        in a CSV (``status = rejected``), yes or no as ``true`` and ``false``.  Empty: all rows.

    Returns
    -------
    bool array (k,)

    Raises
    ------
    SettingsError
        A condition cannot be read; the message says which and why.
    """
    chosen = np.ones(len(table), bool)
    if not text.strip():
        return chosen
    for part in re.split(r",(?!\d)|\band\b", text):  # before a digit it is a decimal comma
        found = _CONDITION.match(part)
        if found is None:
            raise SettingsError(
                f"{quoted(part.strip())} is no condition; write for example snr > 5."
            )
        name, operator, value = found.groups()
        if name not in table.dtype.names:
            raise SettingsError(
                f"There is no column {quoted(name)}; the columns are {listed(table.dtype.names)}."
            )
        column = table[name]
        with np.errstate(invalid="ignore"):
            chosen &= _OPERATORS[operator](column, _value(name, column.dtype, value))
    return chosen


def _value(name: str, dtype: np.dtype, text: str):
    words = WORDS.get(name)
    if words is not None:
        if text not in words:
            raise SettingsError(f"{name} is one of {', '.join(words)}, not {quoted(text)}.")
        return words.index(text)
    if dtype.kind == "b":
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{name} is true or false, not {quoted(text)}.")
        return text.lower() == "true"
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise SettingsError(f"{name} is a number, not {quoted(text)}.") from None


def inside(table: np.ndarray, polygons: Sequence[Sequence[tuple[float, float]]]) -> np.ndarray:
    """Rows whose centroid lies in one of some polygons of (row, col) corners, bool ``(k,)``."""
    from skimage.measure import points_in_poly

    points = np.stack([table["row"], table["col"]], axis=1).astype(float)
    chosen = np.zeros(len(table), bool)
    for polygon in polygons:
        chosen |= points_in_poly(points, np.asarray(polygon, float))
    return chosen


def similar(table: np.ndarray, at: int, count: int = 200) -> np.ndarray:
    """Rows of the spots most like one of them, the likest first.

    Spots are alike if size, shape and brightness are: the Euclidean distance of the
    columns `LIKENESS`, in logarithms (but for the confidence), each over its spread.

    Parameters
    ----------
    table : structured array (k,)
    at : int
        Row of the pattern; it comes first.
    count : int
        At most so many.

    Returns
    -------
    int array
    """
    distance = np.zeros(len(table), np.float32)
    for name in LIKENESS:
        values = table[name].astype(np.float32)
        if name != "confidence":
            values = np.log(np.maximum(values, 1e-3))
        if not np.isfinite(values[at]):
            continue
        low, high = np.nanpercentile(values[:: 1 + len(values) // 20_000], (16, 84))
        distance += np.nan_to_num((values - values[at]) / max(high - low, 1e-6), nan=9.0) ** 2
    distance[at] = -1
    if count < len(table):
        nearest = np.argpartition(distance, count)[:count]
    else:
        nearest = np.arange(len(table))
    return nearest[np.argsort(distance[nearest], kind="stable")]


def doubt(table: np.ndarray) -> np.ndarray:
    """How doubtful each spot is, 0 (sure) to 1: the network nearest to undecided, or a low SNR.

    ``1 - |2 confidence - 1|``, or ``1 / (1 + SNR)`` where there is no confidence.
    """
    with np.errstate(divide="ignore"):
        from_snr = 1 / (1 + np.maximum(table["snr"].astype(float), 0))
    sure = np.abs(2 * table["confidence"].astype(float) - 1)
    return np.where(np.isfinite(sure), 1 - sure, from_snr)


def family_rings(scan: Scan, families: int = 4) -> tuple[tuple[float, float], dict[str, float]]:
    """Where the spots of each hkl family begin on the detector, pixels.

    A grain on the rotation axis that meets the beam along the optical axis diffracts photons of
    energy E to the radius ``L tan(2 theta)``, with ``sin(theta) = hc / (2 d E)``; no photon has
    more than the tube voltage, so nearly all spots of a family lie outside its ring.

    Parameters
    ----------
    scan : Scan
        With geometry, material and tube voltage.
    families : int

    Returns
    -------
    centre : (row, col)
        Where the optical axis meets the detector.
    radii_px : dict
        Radius by the name of the family, rising.

    Raises
    ------
    ScanError, SettingsError
        Something is not known.
    """
    from ..core.errors import ScanError
    from ..crystal import material

    known = scan.description
    if known.tube_kv is None or known.material is None:
        raise ScanError(
            "Rings need the material and the tube voltage; enter them in the Scan dock."
        )
    geometry = scan.geometry()
    crystal = material(known.material)
    reflections = crystal.reflections(families)
    radii = {}
    for number, name in enumerate(reflections.names):
        hkl = reflections.hkl[reflections.family == number][:1]
        theta = np.radians(crystal.bragg_angle_deg(hkl, known.tube_kv))[0]
        if np.isfinite(theta) and theta < np.pi / 4:
            radius_mm = geometry.sample_detector_mm * np.tan(2 * theta)
            radii[name] = float(radius_mm * 1000 / geometry.pixel_um)
    centre = known.detector_center_px or tuple((n - 1) / 2 for n in scan.shape)
    return centre, radii
