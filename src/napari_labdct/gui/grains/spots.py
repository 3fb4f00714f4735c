"""The predicted spots of a grain over the projections (Fig. 9), and clicks on spots."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Points

from ...grains.reflections import SEEN
from ..app import layers as factory
from ..app.predicted_spots import ring_px
from ..app.selection import keeping_selection

if TYPE_CHECKING:
    from ..app.session import Session

FOUND, MISSING, CURRENT = "spots found", "spots missing", "spot looked at"
#: Found and missing differ in shape, too, for colour-blind eyes; neither has the colour of a mask.
_LOOKS: dict[str, dict[str, Any]] = {
    FOUND: {"border_color": "#7dff3c", "symbol": "disc"},
    MISSING: {"border_color": "#ff5fd7", "symbol": "square"},
    CURRENT: {"border_color": "#ffe14d", "symbol": "diamond"},
}


class GrainSpots:
    """Points layers over one stack; made when first needed, held weakly.

    Parameters
    ----------
    session : Session
    clicked : callable
        Gets (frame, row, col) of a click on a projection that is no drag and no brush stroke.
    """

    def __init__(self, session: Session, clicked: Callable[[int, float, float], None]) -> None:
        self._session = session
        self._clicked = clicked
        self._stack: weakref.ref[Layer] | None = None
        self._layers: dict[str, weakref.ref[Points]] = {}
        self._listening = False

    @property
    def stack(self) -> Layer | None:
        """The projections."""
        layer = None if self._stack is None else self._stack()
        return layer if self._session.contains(layer) else None

    def open(self, stack: Layer) -> None:
        """Work on a stack, and listen to clicks on it."""
        if stack is not self.stack:
            self.clear()
            self._stack = weakref.ref(stack)
        if not self._listening and self._session.viewer is not None:
            self._listening = True
            self._session.viewer.mouse_drag_callbacks.append(self._on_mouse)

    def layer(self, name: str) -> Points | None:
        """One of our layers, or None if it is not there (any more)."""
        ref = self._layers.get(name)
        layer = None if ref is None else ref()
        return layer if self._session.contains(layer) else None

    def show(self, rows: np.ndarray, grain: int) -> None:
        """Show the reflections of a grain on all projections, found and missing ones apart."""
        seen = rows["seen"] == SEEN
        for name, some in ((FOUND, rows[seen]), (MISSING, rows[~seen])):
            self._put(name, some, grain)

    def mark(self, row: np.ndarray, move: bool = True) -> None:
        """Mark one reflection and bring it into view."""
        self._put(CURRENT, np.atleast_1d(row), None)
        if move and len(np.atleast_1d(row)):
            self._bring(np.atleast_1d(row)[0])

    def clear(self) -> None:
        """Take the layers away."""
        viewer = self._session.viewer
        for name in _LOOKS:
            layer = self.layer(name)
            if layer is not None and viewer is not None:
                viewer.layers.remove(layer)
        self._layers = {}

    def _put(self, name: str, rows: np.ndarray, grain: int | None) -> None:
        stack, layer = self.stack, self.layer(name)
        if stack is None or (layer is None and not len(rows)):
            return
        data = np.stack([rows["frame"], rows["row"], rows["col"]], axis=1).astype(float)
        if layer is None:
            layer = self._make(stack, name)
        layer.selected_data = set()
        # New points look as the layer's `current_` says. The viewer measures all layers at every
        # event of data; spots lie within their projections, so it need not.
        with layer.events.data.blocker():
            layer.data = data
        if grain is not None and len(rows):
            hkl = [f"{r['h']} {r['k']} {r['l']}" for r in rows]
            layer.features = {
                "grain": np.full(len(rows), grain), "hkl": np.array(hkl, dtype=object),
                "omega_deg": rows["omega_deg"],
            }  # fmt: skip

    def _make(self, stack: Layer, name: str) -> Points:
        viewer = self._session.viewer
        taken = [layer.name for layer in viewer.layers]
        size = ring_px(stack.data.shape[-1]) * (3 if name == CURRENT else 2)
        layer = Points(
            np.zeros((0, 3)),
            ndim=3,
            name=factory.free_name(taken, f"{stack.name} [{name}]"),
            face_color="transparent",
            border_width=0.1,
            size=size,
            metadata={factory.KEY: {"kind": "grain spots", "stack": stack.name}},
            **_LOOKS[name],
            **factory.placement(stack, (1, *stack.data.shape[-2:])),
        )
        with keeping_selection(viewer.layers):
            viewer.layers.append(layer)
        layer.current_size, layer.current_symbol = size, _LOOKS[name]["symbol"]
        layer.current_border_color = _LOOKS[name]["border_color"]
        layer.current_border_width = 0.1
        self._layers[name] = weakref.ref(layer)
        return layer

    def _bring(self, row: np.void) -> None:
        """Move the slider to a reflection, and the camera only if it is out of sight."""
        stack, viewer = self.stack, self._session.viewer
        self._session.show_frame(int(row["frame"]), stack)
        camera = viewer.scene.camera
        here = (float(row["frame"]), float(row["row"]), float(row["col"]))
        world = np.asarray(stack.data_to_world(here[-stack.ndim :]))[-2:]
        half = 0.9 * np.asarray(viewer.canvas.size, float) / (2 * camera.zoom)
        away = world - np.asarray(camera.center)[-2:]
        beyond = np.sign(away) * np.maximum(np.abs(away) - half, 0)
        if beyond.any():  # no farther than it must
            camera.center = (0.0, *(np.asarray(camera.center)[-2:] + beyond))

    # ----------------------------------------------------------------------- clicks

    def _on_mouse(self, _viewer, event):
        """Pick the spot under a click; a drag is left to the camera or the brush."""
        start = tuple(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        still = max(abs(a - b) for a, b in zip(start, event.pos)) < 4
        if still and event.button == 1 and not self._drawing():
            self.pick(event.position)

    def pick(self, position) -> None:
        """A click at a place of the viewer's world."""
        stack = self.stack
        if stack is None or stack is not self._session.stack:
            return
        at = stack.world_to_data(position[-stack.ndim :])
        row, col = float(at[-2]), float(at[-1])
        rows, cols = stack.data.shape[-2:]
        if -0.5 <= row < rows - 0.5 and -0.5 <= col < cols - 0.5:
            self._clicked(self._session.shown_frame(stack), row, col)

    def _drawing(self) -> bool:
        viewer = self._session.viewer
        mode = getattr(viewer.layers.selection.active, "mode", "pan_zoom")
        return str(mode) not in ("pan_zoom", "transform")
