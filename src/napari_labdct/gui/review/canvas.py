"""What a review shows on the canvas, and what a click on the canvas means."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, Shapes

from . import layers as spots_layers

if TYPE_CHECKING:
    from ..app.session import Session
    from .tasks import Measured

Written = Callable[[int, np.ndarray, np.ndarray], None]


class SpotsCanvas:
    """The layers of one review over its stack; made when first needed, held weakly.

    Parameters
    ----------
    session : Session
    clicked : callable
        Gets the world position of a click that is no drag and no brush stroke.
    """

    def __init__(self, session: Session, clicked: Callable[[Sequence[float]], None]) -> None:
        self._session = session
        self._clicked = clicked
        self._stack: weakref.ref[Layer] | None = None
        self._layers: dict[str, weakref.ref[Layer]] = {}
        self._listening = False
        self._recipe: dict[str, Any] = {}
        self.cache: spots_layers.LabelCache | None = None

    @property
    def stack(self) -> Layer | None:
        """The stack under review."""
        layer = None if self._stack is None else self._stack()
        return layer if self._session.contains(layer) else None

    def open(self, stack: Layer, measured: Measured) -> None:
        """Show the outlines of a scan's spots."""
        self._stack, self._recipe = weakref.ref(stack), measured.recipe
        self.cache = spots_layers.LabelCache(measured.spots, measured.review)
        self.show_outlines()
        if not self._listening:
            self._listening = True
            self._session.viewer.mouse_drag_callbacks.append(self._on_mouse)

    def show_outlines(self) -> None:
        """Show the outlines of all spots, or bring them back when they were removed by hand."""
        stack = self.stack
        if stack is not None and self.cache is not None and self.layer("review") is None:
            made = spots_layers.status_layer(self._session, stack, self.cache, self._recipe)
            self._put("review", made)

    def close(self) -> None:
        """Take the layers away."""
        viewer = self._session.viewer
        for name in ("review", "selected", "edited spots"):
            layer = self.layer(name)
            if layer is not None and viewer is not None:
                viewer.layers.remove(layer)
        self.cache = None

    def layer(self, name: str) -> Any:
        """One of our layers by what it shows, or None if it is not there (any more)."""
        ref = self._layers.get(name)
        layer = None if ref is None else ref()
        return layer if self._session.contains(layer) else None

    def _put(self, name: str, layer: Layer | None) -> None:
        if layer is not None:
            self._layers[name] = weakref.ref(layer)

    def refresh(self, frames: Sequence[int] | None) -> None:
        """Show projections anew, all of them if None."""
        for name in ("review", "edited spots"):
            self._session.refresh(self.layer(name), frames)

    def forget(self, frame: int | None = None) -> None:
        """Read the labels of a projection (or of all) anew and show them."""
        if self.cache is not None:
            self.cache.forget(frame)
            self.refresh(None if frame is None else [frame])

    # ----------------------------------------------------------------------- clicks

    def _on_mouse(self, _viewer, event):
        """Pick the spot under a click; a drag is left to the camera or the brush."""
        start = tuple(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        still = max(abs(a - b) for a, b in zip(start, event.pos)) < 4
        if still and event.button == 1 and self.stack is not None and not self._drawing():
            self._clicked(event.position)

    def _drawing(self) -> bool:
        viewer = self._session.viewer
        mode = getattr(viewer.layers.selection.active, "mode", "pan_zoom")
        return str(mode) not in ("pan_zoom", "transform")

    def point(self, position: Sequence[float]) -> tuple[int, float, float] | None:
        """Frame, row and column of a world position; None outside the projections."""
        stack = self.stack
        if stack is None:
            return None
        at = stack.world_to_data(position[-stack.ndim :])
        row, col = float(at[-2]), float(at[-1])
        rows, cols = stack.data.shape[-2:]
        if not (-0.5 <= row < rows - 0.5 and -0.5 <= col < cols - 0.5):
            return None
        return self._session.shown_frame(stack), row, col

    # ------------------------------------------------------------------------ spots

    def show(self, row: np.void, move: bool) -> None:
        """Box a spot, and bring it into view if `move`."""
        stack = self.stack
        if stack is None:
            return
        if move:
            spots_layers.show_spot(self._session, stack, row)
        box: Shapes | None = self.layer("selected")
        self._put("selected", spots_layers.select_box(self._session, stack, box, row))

    def region(self) -> list[np.ndarray]:
        """Polygons of the region drawn on the detector, (row, col) corners."""
        layer: Shapes | None = self.layer("region")
        return [] if layer is None else [np.asarray(shape)[:, -2:] for shape in layer.data]

    def draw_region(self) -> Shapes | None:
        """Let the user draw a region; returns its layer."""
        stack = self.stack
        if stack is None:
            return None
        layer = self.layer("region")
        if layer is None:
            layer = spots_layers.region_layer(self._session, stack)
            self._put("region", layer)
        else:
            self._session.viewer.layers.selection.active = layer
            layer.mode = "add_polygon"
        return layer

    def remove_region(self) -> None:
        """Take the region away."""
        layer = self.layer("region")
        if layer is not None:
            self._session.viewer.layers.remove(layer)

    # ------------------------------------------------------------------------ brush

    def edit_layer(self, written: Written, painted: Callable) -> Labels | None:
        """The layer for the brush, made when first asked for."""
        layer = self.layer("edited spots")
        stack = self.stack
        if layer is None and stack is not None and self.cache is not None:
            frames = spots_layers.EditableFrames(self.cache, written)
            layer = spots_layers.edit_layer(self._session, stack, frames, self._recipe)
            layer.events.paint.connect(painted)
            self._put("edited spots", layer)
        return layer

    def brush(self, layer: Labels, mode: str, spot: int | None) -> None:
        """Put the brush or the eraser into the user's hand."""
        self._session.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = mode
        if spot is not None:
            layer.selected_label = spot

    def brush_away(self) -> None:
        """Take the brush away and hide its layer."""
        layer = self.layer("edited spots")
        if layer is not None:
            layer.mode = "pan_zoom"
            layer.visible = False
