"""What the file of the projections says of them itself, beside what ``scan.yaml`` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .description import ScanDescription

FROM_FILE = "from the file"
FROM_NAMES = "from the file names"
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class FileKnowledge:
    """What a file knows of its scan.

    Parameters
    ----------
    omega_deg : array of float (n,), optional
        Rotation angle of each projection.
    omega_from : str
        Where the angles stand, in words.
    description : ScanDescription
        Pixel size, distances...; defaults where the file says nothing.
    details : tuple of (str, str)
        What else it tells, name and value: date, reference image, averaged frames.
    inside : str
        Which data set of a file with several was opened, such as ``/entry/data/data``.
    """

    omega_deg: np.ndarray | None = None
    omega_from: str = FROM_FILE
    description: ScanDescription = field(default_factory=ScanDescription)
    details: tuple[tuple[str, str], ...] = ()
    inside: str = ""


def contradictions(known: FileKnowledge, described: ScanDescription) -> list[str]:
    """A sentence for each value that ``scan.yaml`` gives otherwise than the file."""
    default, notes = ScanDescription(), []
    for name, value in described.to_dict().items():
        told = getattr(known.description, name)
        unset = getattr(default, name)
        mine = getattr(described, name)
        if mine == unset or told == unset or _alike(mine, told):
            continue
        notes.append(f"scan.yaml says {name}: {value}, the file says {told}; scan.yaml counts.")
    return notes


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return bool(np.isclose(one, other, rtol=1e-3))
    return bool(one == other)


def about_angles(omega_deg: np.ndarray | None) -> list[str]:
    """What a user should know of the angles: the same one twice, or an order that turns back.

    Median and tracks take the projections before and after for neighbours in angle.
    """
    if omega_deg is None or omega_deg.size < 3 or np.ptp(omega_deg) == 0:
        return []
    notes, order = [], np.argsort(omega_deg, kind="stable")
    step = float(np.median(np.abs(np.diff(omega_deg))))
    same = np.flatnonzero(np.diff(omega_deg[order]) <= 1e-3 * step)
    if same.size:
        pairs = [
            f"{a} and {b} ({omega_deg[a]:g} deg)" for a, b in zip(order[same], order[same + 1])
        ]
        notes.append(f"Projections have the same angle: {_some(pairs, '; ')}.")
    back = _turns(omega_deg)
    if back.size:
        notes.append(
            f"The angles turn back at projection {_some([str(b) for b in back])}; the rolling "
            "median and tracks take neighbours in the file for neighbours in angle."
        )
    return notes


def _turns(omega_deg: np.ndarray) -> np.ndarray:
    """Projections whose step goes the other way than most, a full turn counted as none."""
    steps = np.diff(omega_deg)
    around = np.abs(steps) > 180  # from 359 to 0, the same way on
    steps = np.where(around, steps - 360 * np.sign(steps), steps)
    way = np.sign(np.median(np.sign(steps[steps != 0]))) or 1.0
    return np.flatnonzero(steps * way < 0) + 1


def _some(words: Sequence[str], between: str = ", ") -> str:
    more = len(words) - _MOST_NAMED
    return between.join(words[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
