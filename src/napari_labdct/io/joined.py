"""Several files as one scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from ..core.errors import ScanError
from ..core.stacks import FrameStack, LazyStack
from ..scan.description import ScanDescription
from ..scan.scan import Scan


class JoinedFrames(LazyStack):
    """The frames of several stacks one after the other.

    Parameters
    ----------
    stacks : sequence of array-like (n, rows, cols)
        Of one size and type.
    names : sequence of str
        What they are called in a sentence.

    Raises
    ------
    ScanError
        One differs from the first; the message names it.
    """

    def __init__(self, stacks: Sequence[FrameStack], names: Sequence[str]) -> None:
        first = stacks[0]
        for stack, name in zip(stacks, names):
            if stack.shape[1:] != first.shape[1:] or stack.dtype != first.dtype:
                raise ScanError(
                    f"{name} is {_size(stack)}, but {names[0]} is {_size(first)}; all projections "
                    "of a scan must be alike, so move the odd one away."
                )
        self.stacks = list(stacks)
        self.paths = [path for stack in stacks for path in getattr(stack, "paths", ())]
        self._starts = np.cumsum([0, *(s.shape[0] for s in stacks)])
        super().__init__((int(self._starts[-1]), *first.shape[1:]), first.dtype)

    def read(self, index: int) -> np.ndarray:
        part = int(np.searchsorted(self._starts, index, "right")) - 1
        return np.asarray(self.stacks[part][index - int(self._starts[part])])


def _size(stack: FrameStack) -> str:
    return f"{stack.shape[1]} x {stack.shape[2]} {np.dtype(stack.dtype).name}"


def joined(scans: Sequence[Scan], names: Sequence[str]) -> Scan:
    """Scans one after the other as one; what they know is kept where they agree.

    Parameters
    ----------
    scans : sequence of Scan
    names : sequence of str
        Of their files.
    """
    first = scans[0]
    omegas = [scan.omega_deg for scan in scans]
    notes = list(dict.fromkeys(note for scan in scans for note in scan.notes))
    without = [name for name, omega in zip(names, omegas) if omega is None]
    if 0 < len(without) < len(scans):
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        notes.append(f"{without[0]}{more} tells no angle; enter the angles yourself.")
    alike, default = {}, ScanDescription()
    for name in (f.name for f in fields(ScanDescription)):
        values = {getattr(scan.description, name) for scan in scans}
        if len(values) == 1:
            alike[name] = values.pop()
        elif name != "exposure_s":
            notes.append(f"The files give different values for {name}, so none is taken.")
    return replace(
        first,
        frames=JoinedFrames([scan.frames for scan in scans], names),
        omega_deg=None if without else np.concatenate(omegas),
        description=replace(default, **alike),
        notes=tuple(notes),
    )
