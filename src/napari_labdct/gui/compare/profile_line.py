"""The line of the profile on the canvas, and the pointer that marks one of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Layer, Points, Shapes

from ..app import layers as factory
from .request import Line

_VIOLET = "#b9a6ff"
_POINTER_PX = 14
_FLAT = ("scale", "translate", "units", "axis_labels")


class ProfileLine:
    """Two layers over a stack: a line that the user draws or drags, and a cross.

    Parameters
    ----------
    stack : Layer
    shape : (int, int, int)
        Of the stack, with one projection at least.
    moved : callable
        Called when the line is elsewhere.
    """

    def __init__(
        self, stack: Layer, shape: tuple[int, int, int], moved: Callable[[], None]
    ) -> None:
        self._moved = moved
        self._changing = False
        flat = {
            "ndim": 2,
            "visible": False,
            **{k: v[1:] for k, v in factory.placement(stack, shape).items() if k in _FLAT},
        }
        self.layer = Shapes(
            name=f"{stack.name} [profile line]",
            edge_color=_VIOLET,
            edge_width=max(shape[1:]) / 400,
            metadata={factory.KEY: {"kind": "profile line"}},
            **flat,
        )
        self.pointer = Points(
            np.zeros((1, 2)),
            name=f"{stack.name} [pointer]",
            symbol="cross",
            face_color="#ffe066",
            border_color="transparent",
            metadata={factory.KEY: {"kind": "pointer"}},
            **flat,
        )
        self.layer.events.data.connect(self._on_data)

    @property
    def drawn(self) -> bool:
        """Whether there is a line."""
        return bool(len(self.layer.data))

    @property
    def ends(self) -> Line | None:
        """Ends of the line, (row, col) in pixels; the last one drawn."""
        if not self.drawn:
            return None
        ends = np.asarray(self.layer.data[-1])
        first, last = ends[0], ends[-1]
        if np.hypot(*(last - first)) < 2:
            return None
        return tuple(map(float, first)), tuple(map(float, last))

    def put(self, line: Line) -> None:
        """Put the line elsewhere."""
        self._changing = True
        self.layer.data = []
        self.layer.add_lines([np.array(line, float)], edge_color=_VIOLET)
        self._changing = False
        self.layer.mode = "select"
        self._moved()

    def point_at(self, place: tuple[float, float] | None, *, shown: bool) -> None:
        """Mark a pixel (row, col) in the image; None takes the mark away."""
        if place is not None:
            self.pointer.data = np.array([place], float)
        self.pointer.visible = place is not None and shown

    def resize(self, zoom: float) -> None:
        """Keep the cross as large as it is on the screen."""
        self.pointer.size = _POINTER_PX / zoom

    def _on_data(self, _event: Any = None) -> None:
        if not self._changing:
            self._moved()
