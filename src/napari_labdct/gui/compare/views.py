"""The Compare dock's part of the canvas: its own layers, and everything as it was afterwards.

napari draws the whole canvas anew for every layer that comes, goes or is hidden, and builds its
shaders for it, which holds the window for seconds.  So a view is changed in one batch, the layers
of the views are made once and then shown or hidden, and what stands in every cell is one caption.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer

from ...spots.matching import Match
from ..app import layers as factory
from ..app.session import Session
from .captions import captions
from .derived import Derived, in_one_batch
from .engine import Held
from .request import FrameView, Line
from .rings import Rings
from .snapshot import Snapshot, restore_camera, restore_layers, take_snapshot

#: The views, in the order of their buttons and keys.
VIEWS = ("side by side", "overlay", "flicker", "residual", "profile")
_SHOWN = {
    "side by side": ("stack", "a", "b", "residual_a", "residual_b", "agreement"),
    "overlay": ("stack", "agreement"),
    "flicker": ("stack", "a", "b"),
    "residual": ("residual_a", "residual_b"),
    "profile": ("stack", "line"),
}
#: Rows and columns that a view may have; the first is taken unless the pictures gain by another.
GRIDS = {"side by side": ((2, 3),), "residual": ((1, 2), (2, 1))}
_CAPTION_PT = 7


def best_grid(
    mode: str, canvas: tuple[float, float], image: tuple[int, int]
) -> tuple[int, int] | None:
    """Rows and columns of a view in which its pictures are largest; None if it has one cell.

    Parameters
    ----------
    mode : str
    canvas, image : (rows, cols)
        Of the canvas in its pixels, and of the projection.
    """

    def scale(grid: tuple[int, int]) -> float:
        return min(canvas[0] / grid[0] / image[0], canvas[1] / grid[1] / image[1])

    return max(GRIDS[mode], key=scale) if mode in GRIDS else None


class CompareView:
    """The layers of the views.  While it is on, only they and the stack are visible.

    Parameters
    ----------
    session : Session
    left : callable
        Called when the view had to be left because a layer went away.
    line_moved : callable
        Called when the user moved the line of the profile.
    """

    def __init__(
        self, session: Session, left: Callable[[], None], line_moved: Callable[[], None]
    ) -> None:
        self._session = session
        self._left = left
        self._line_moved = line_moved
        self._was: Snapshot | None = None
        self._stack: weakref.ref[Layer] | None = None
        self._derived: Derived | None = None
        self._sides: tuple[str, str, Match | None] = ("", "", None)
        self._fitted = 0.0  # zoom at which the whole projection is seen
        self.mode = ""
        self.rings = Rings()

    @property
    def on(self) -> bool:
        return self._was is not None

    @property
    def stack(self) -> Layer | None:
        return None if self._stack is None else self._stack()

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers of the views that exist by now."""
        return {} if self._derived is None else self._derived.layers

    @property
    def held(self) -> dict[str, Held]:
        """What they show."""
        return {} if self._derived is None else self._derived.held

    # ----------------------------------------------------------- coming and going

    def enter(self, stack: Layer, mode: str) -> None:
        """Show a view of `stack`; the first time, add the layers and hide all others."""
        viewer = self._session.viewer
        if viewer is None:
            return
        if self.on and self.stack is not stack:
            self.leave()
        fresh, grid = not self.on, viewer.canvas.grid
        before = grid.enabled and tuple(grid.shape)
        with in_one_batch(viewer):
            if fresh:
                self._was = take_snapshot(viewer)
                self._stack = weakref.ref(stack)
                self._derived = Derived(stack, self._line_moved)
                self._connect(viewer)
            self._set_mode(viewer, stack, mode)
        if fresh or before != (grid.enabled and tuple(grid.shape)):
            self._fit(viewer)

    def _fit(self, viewer: Viewer) -> None:
        """Show the whole projection in each cell."""
        viewer.reset_view()
        self._fitted = viewer.scene.camera.zoom
        self._on_zoom()

    def leave(self) -> None:
        """Take the layers away and bring back what the user had."""
        viewer = self._session.viewer
        was, self._was = self._was, None
        derived, self._derived = self._derived, None
        self.mode = ""
        if was is None or viewer is None:
            return
        self._disconnect(viewer)
        with in_one_batch(viewer):
            viewer.canvas.grid.enabled = False
            self.rings.remove(viewer)
            derived.remove(viewer)
            restore_layers(viewer, was)
        restore_camera(viewer, was)

    def _connect(self, viewer: Viewer) -> None:
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.canvas.events.size.connect(self._on_size)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)

    def _disconnect(self, viewer: Viewer) -> None:
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.layers.events.inserted.disconnect(self._on_inserted)
        viewer.canvas.events.size.disconnect(self._on_size)
        viewer.scene.camera.events.zoom.disconnect(self._on_zoom)

    def _on_removed(self, event: Any) -> None:
        ours = (*self.layers.values(), *self.rings.layers.values())
        if event.value is self.stack or event.value in ours:
            self.leave()
            self._left()
        else:
            self._align()

    def _on_inserted(self, event: Any) -> None:
        """A result that comes meanwhile waits until the view is left: it has no cell here."""
        layer = event.value
        ours = (*self.layers.values(), *self.rings.layers.values())
        if layer not in ours and factory.kind_of(layer):
            self._was.add(layer)
            layer.visible = False

    def _align(self) -> None:
        """Give the first layer with rings an even place; the hidden line fills the gap."""
        viewer = self._session.viewer
        if viewer is None or not self.rings.on:
            return
        ours = [viewer.layers.index(x) for x in self.layers.values()]
        first = min(viewer.layers.index(self.layers[key]) for key in self.rings.layers)
        if first % 2:
            line = viewer.layers.index(self.layers["line"])
            viewer.layers.move(line, first if line > first else max(ours) + 1)

    def _set_mode(self, viewer: Viewer, stack: Layer, mode: str) -> None:
        self.mode = mode
        shown = _SHOWN[mode]
        if self._derived.add(viewer, stack, shown):
            self.rings.remove(viewer)  # they come again with the next look, over all layers
        known = {**self.layers, "stack": stack}
        for layer in viewer.layers:
            if layer not in known.values() and layer not in self.rings.layers.values():
                layer.visible = False
        grid = viewer.canvas.grid
        grid.shape = (-1, -1)  # napari cannot have fewer cells than there are layers to show
        grid.stride = 2 if self.rings.on else 1
        gridded = mode in GRIDS
        for key, layer in known.items():
            layer.visible = key in shown and not (mode == "flicker" and key == "b")
            captioned = gridded or (mode == "flicker" and key != "stack")
            layer.name_overlay.font_size = _CAPTION_PT
            layer.name_overlay.visible = captioned and key in shown
        self.rings.follow(self.layers)
        grid.shape = self._grid(viewer) or (-1, -1)
        grid.enabled = gridded
        self._derived.colour(gridded)
        corner = viewer.canvas.overlays.text
        corner.position = "bottom_left"  # the scale bar is at the right
        corner.font_size = _CAPTION_PT
        corner.visible, corner.gridded = True, False
        if mode == "profile" and not self._derived.line.drawn:
            rows, cols = stack.data.shape[-2:]
            self.set_line(((0, 0), (rows - 1, cols - 1)))
        viewer.layers.selection = {self.layers["line"] if mode == "profile" else stack}
        self._caption()

    def _grid(self, viewer: Viewer) -> tuple[int, int] | None:
        return best_grid(self.mode, viewer.canvas.size, self.stack.data.shape[-2:])

    def _on_size(self, _event: object = None) -> None:
        """The canvas has another size: other cells, perhaps, and captions of another length."""
        viewer = self._session.viewer
        if viewer is None or not self.on:
            return
        shape = self._grid(viewer)
        if shape is not None and shape != tuple(viewer.canvas.grid.shape):
            viewer.canvas.grid.shape = shape
        if viewer.scene.camera.zoom == self._fitted:  # the user did not zoom since
            self._fit(viewer)
        self._caption()

    # -------------------------------------------------------------------- showing

    def show(self, view: FrameView) -> None:
        """Put a computed projection on the canvas."""
        if not self.on:
            return
        index = view.request.index
        self._derived.put(view)
        if self._session.shown_frame(self.stack) == index:
            self._derived.refresh()
        elif self.mode == "flicker":
            self.layers["b"].refresh()
        if view.match is not None:
            self._ring(view)

    def _ring(self, view: FrameView) -> None:
        viewer, stack = self._session.viewer, self.stack
        if viewer is None or stack is None or (view.spots is None and not self.rings.on):
            return
        if view.spots is not None and self.rings.on:
            self.rings.show(viewer, stack, self.layers, view.request.index, view.spots)
            return
        with in_one_batch(viewer):
            if view.spots is None:
                self.rings.remove(viewer)
            else:
                self._derived.add(viewer, stack, ("line",))  # fills a gap, see `_align`
                self.rings.show(viewer, stack, self.layers, view.request.index, view.spots)
            self._align()
            viewer.canvas.grid.stride = 2 if self.rings.on else 1
            self.rings.follow(self.layers)
        viewer.layers.selection = {self.layers["line"] if self.mode == "profile" else stack}

    def _on_zoom(self, _event: object = None) -> None:
        """Marks keep a size on the screen, whatever the camera does."""
        viewer, stack = self._session.viewer, self.stack
        if viewer is None or stack is None or not self.on:
            return
        zoom = viewer.scene.camera.zoom * float(stack.scale[-1])
        self.rings.resize(stack.data.shape[-1], zoom)
        if self._derived.line is not None:
            self._derived.line.resize(zoom)

    def set_captions(self, a: str, b: str, match: Match | None) -> None:
        """What stands in the cells: the names of A and B, and the counts if they are known."""
        self._sides = (a, b, match)
        self._caption()

    def _caption(self) -> None:
        viewer = self._session.viewer
        if viewer is None or not self.on:
            return
        cells = (self._grid(viewer) or (1, 1))[1]
        for key, text in captions(*self._sides, viewer.canvas.size[1] / cells).items():
            if key in self.layers and self.layers[key].name != text:
                self.layers[key].name = text

    def flip(self) -> str:
        """Flicker: show the other one; returns which."""
        if self.mode != "flicker":
            return ""
        a, b = self.layers["a"], self.layers["b"]
        a.visible, b.visible = not a.visible, a.visible
        self.rings.follow(self.layers)
        shown = a if a.visible else b
        shown.refresh()
        return "a" if a.visible else "b"

    # ----------------------------------------------------------------------- line

    @property
    def line(self) -> Line | None:
        """Ends of the drawn line, (row, col) in pixels; the last one drawn."""
        return self._derived.line.ends if self.mode == "profile" else None

    def set_line(self, line: Line) -> None:
        """Put the line of the profile elsewhere."""
        if self.on and self._derived.line is not None:
            self._derived.line.put(line)

    def point_at(self, place: tuple[float, float] | None) -> None:
        """Mark a pixel (row, col) in the image; None takes the mark away."""
        if self.on and self._derived.line is not None:
            self._derived.line.point_at(place, shown=self.mode == "profile")
