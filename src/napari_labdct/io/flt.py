"""Spot tables as ImageD11's ``.flt``: columns of numbers under one line of names.

Rows are slow (``sc``), columns are fast (``fc``), as the projections are stored; nothing is turned
and no distortion is corrected.  Columns that ImageD11's own peak search writes and that are not
measured here (``sum_intensity^2``, where the brightest pixel lies, laboratory coordinates) are left
out: it finds columns by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..core.errors import OutputError
from ..core.files import atomic
from .spot_tables import described


def flt_columns(table: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of a ``.flt`` by name.

    Parameters
    ----------
    table : structured array of `spots.SPOT_DTYPE`

    Raises
    ------
    OutputError
        A spot has no rotation angle.

    Notes
    -----
    With the standard deviations :math:`l/4` and :math:`w/4` along the axes of the mask and the
    angle :math:`\\theta` of the long one against the rows, counter-clockwise,

    .. math:: \\sigma_s^2 = (l \\sin\\theta)^2/16 + (w \\cos\\theta)^2/16

    and ``covsf`` is the covariance over :math:`\\sigma_s \\sigma_f`.
    """
    if not np.all(np.isfinite(table["omega_deg"])):
        raise OutputError(
            "A .flt file needs the rotation angle of every spot; enter the angles of the scan and "
            "measure the spots again."
        )
    t = {name: table[name].astype(float) for name in table.dtype.names}
    turn = np.deg2rad(t["orientation_deg"])
    sine, cosine = np.sin(turn), np.cos(turn)
    long, short = (t["length_px"] / 4) ** 2, (t["width_px"] / 4) ** 2
    slow, fast = long * sine**2 + short * cosine**2, long * cosine**2 + short * sine**2
    both = (short - long) * sine * cosine
    frame = table["frame"]
    first, last = (frame.min(), frame.max()) if len(table) else (0, 0)
    return {
        "sc": t["row"], "fc": t["col"], "omega": t["omega_deg"],
        "Number_of_pixels": t["area_px"], "avg_intensity": t["sum"] / np.maximum(t["area_px"], 1),
        "s_raw": t["row"], "f_raw": t["col"], "sigs": np.sqrt(slow), "sigf": np.sqrt(fast),
        "covsf": both / np.maximum(np.sqrt(slow * fast), 1e-12),
        "sigo": np.ones(len(table)), "covso": np.zeros(len(table)), "covfo": np.zeros(len(table)),
        "sum_intensity": t["sum"], "IMax_int": t["peak"], "IMax_o": t["omega_deg"],
        "Min_s": t["row_min"], "Max_s": t["row_max"], "Min_f": t["col_min"], "Max_f": t["col_max"],
        "Min_o": t["omega_deg"], "Max_o": t["omega_deg"],
        "onfirst": (frame == first).astype(float), "onlast": (frame == last).astype(float),
        "spot3d_id": np.arange(len(table), dtype=float), "frame": t["frame"], "label": t["id"],
        "snr": t["snr"],
    }  # fmt: skip


_WHOLE = {
    "Number_of_pixels", "Min_s", "Max_s", "Min_f", "Max_f", "onfirst", "onlast", "spot3d_id",
    "frame", "label",
}  # fmt: skip


def write_flt(path: str | Path, table: np.ndarray, recipe: dict[str, Any]) -> Path:
    """A spot table as ``.flt``, with its recipe beside it.

    Raises
    ------
    OutputError
        A spot has no rotation angle, or the folder cannot be written.
    """
    columns = flt_columns(table)
    formats = ["%d" if name in _WHOLE else "%.5f" for name in columns]
    made = np.column_stack(list(columns.values()))
    header = f"# napari_labdct = {__version__}\n#  {'  '.join(columns)}\n"
    with described(path, recipe), atomic(path) as part, open(part, "w", encoding="ascii") as file:
        file.write(header)
        np.savetxt(file, made, "  ".join(formats))
    return Path(path)
