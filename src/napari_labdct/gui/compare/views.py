"""The Compare dock's part of the canvas: its own layers, and everything as it was afterwards."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer, Points, Shapes
from napari.utils.colormaps import DirectLabelColormap
from napari.viewer import Viewer

from ...spots.matching import Match
from ..app import layers as factory
from ..app.session import Session
from .grain_panel import Rings
from .tasks import FrameView, Held, Line

#: The views, in the order of their buttons and keys.
VIEWS = ("side by side", "overlay", "flicker", "residual", "profile")
_SHOWN = {
    "side by side": ("stack", "a", "b", "residual_a", "residual_b", "agreement"),
    "overlay": ("stack", "agreement"),
    "flicker": ("stack", "a", "b"),
    "residual": ("residual_a", "residual_b"),
    "profile": ("stack", "line"),
}
_GRIDS = {"side by side": (2, 3), "residual": (1, 2)}
_POINTER_PX = 14
_FLAT = ("scale", "translate", "units", "axis_labels")
_CORNER = ("text", "visible", "gridded", "position", "font_size")
_CAPTION_PT = 7
_VIOLET = "#b9a6ff"
#: Width of a caption's letter, and what lies left and right of it, in canvas pixels.
_LETTER_PX, _MARGIN_PX = 6.9, 22
_PALETTES = {
    "a": {1: factory.CYAN, None: "transparent"},
    "b": {1: factory.ORANGE, None: "transparent"},
    "agreement": {1: factory.WHITE, 2: factory.CYAN, 3: factory.ORANGE, None: "transparent"},
}


@dataclass(frozen=True)
class Snapshot:
    """What the user had on the canvas."""

    layers: list[tuple[weakref.ref[Layer], bool, bool, float]]
    selection: list[weakref.ref[Layer]]
    grid: tuple[bool, int, tuple[int, int], float]
    corner: dict[str, Any]
    camera: tuple[tuple[float, ...], float]


def shorten(before: str, name: str, behind: str, letters: int) -> str:
    """A caption of at most so many letters; what is cut is the end of the name."""
    over = len(before) + len(name) + len(behind) - letters
    if over > 0:
        name = name[: max(3, len(name) - over - 1)].rstrip() + "…"
    return before + name + behind


def take_snapshot(viewer: Viewer) -> Snapshot:
    """Visibility, selection, grid, overlays and camera of a viewer."""
    grid = viewer.canvas.grid
    corner = viewer.canvas.overlays.text
    camera = viewer.scene.camera
    return Snapshot(
        [
            (weakref.ref(la), la.visible, la.name_overlay.visible, la.name_overlay.font_size)
            for la in viewer.layers
        ],
        [weakref.ref(layer) for layer in viewer.layers.selection],
        (grid.enabled, grid.stride, tuple(grid.shape), grid.spacing),
        {name: getattr(corner, name) for name in _CORNER},
        (tuple(camera.center), float(camera.zoom)),
    )


def restore_snapshot(viewer: Viewer, was: Snapshot) -> None:
    """Bring all of a `Snapshot` back, as far as its layers still exist."""
    grid = viewer.canvas.grid
    grid.enabled, grid.stride, grid.shape, grid.spacing = was.grid
    for name, value in was.corner.items():
        setattr(viewer.canvas.overlays.text, name, value)
    for ref, visible, captioned, size in was.layers:
        layer = ref()
        if layer is not None and layer in viewer.layers:
            layer.visible = visible
            layer.name_overlay.visible = captioned
            layer.name_overlay.font_size = size
    known = [ref() for ref, *_ in was.layers]
    for place, layer in enumerate(x for x in known if x is not None and x in viewer.layers):
        if viewer.layers.index(layer) != place:
            viewer.layers.move(viewer.layers.index(layer), place)
    kept = [ref() for ref in was.selection]
    viewer.layers.selection = {la for la in kept if la is not None and la in viewer.layers}
    viewer.scene.camera.center, viewer.scene.camera.zoom = was.camera


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
        self._limits_set = False
        self._changing = False
        self.mode = ""
        self.layers: dict[str, Layer] = {}
        self.held: dict[str, Held] = {}
        self.rings = Rings()
        self._captions: dict[str, tuple[str, str, str]] = {}

    @property
    def on(self) -> bool:
        return self._was is not None

    @property
    def stack(self) -> Layer | None:
        return None if self._stack is None else self._stack()

    # ----------------------------------------------------------- coming and going

    def enter(self, stack: Layer, mode: str) -> None:
        """Show a view of `stack`; the first time, add the layers and hide all others."""
        viewer = self._session.viewer
        if viewer is None:
            return
        if self.on and self.stack is not stack:
            self.leave()
        fresh = not self.on
        if fresh:
            self._was = take_snapshot(viewer)
            self._stack = weakref.ref(stack)
            self._add_layers(viewer, stack)
            viewer.layers.events.removed.connect(self._on_removed)
            viewer.layers.events.inserted.connect(self._on_inserted)
            viewer.canvas.events.size.connect(self._caption)
            viewer.scene.camera.events.zoom.connect(self._on_zoom)
        self._set_mode(viewer, stack, mode)
        if fresh:
            viewer.reset_view()
            self._on_zoom()

    def leave(self) -> None:
        """Take the layers away and bring back what the user had."""
        viewer = self._session.viewer
        was, self._was = self._was, None
        layers, self.layers = self.layers, {}
        self.held = {}
        self.mode = ""
        if was is None or viewer is None:
            return
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.layers.events.inserted.disconnect(self._on_inserted)
        viewer.canvas.events.size.disconnect(self._caption)
        viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self.rings.remove(viewer)
        for layer in layers.values():
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        restore_snapshot(viewer, was)

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
        if layer in ours or not factory.kind_of(layer):
            return
        name = layer.name_overlay
        self._was.layers.append((weakref.ref(layer), layer.visible, name.visible, name.font_size))
        layer.visible = False

    def _align(self) -> None:
        """Give the first layer with rings an even place; the hidden line fills the gap."""
        viewer = self._session.viewer
        if viewer is None or not self.rings.on:
            return
        first = viewer.layers.index(self.layers["a"])
        if first % 2:
            line = viewer.layers.index(self.layers["line"])
            last = max(viewer.layers.index(x) for x in self.layers.values())
            viewer.layers.move(line, first if line > first else last + 1)

    def _add_layers(self, viewer: Viewer, stack: Layer) -> None:
        count = stack.data.shape[0] if stack.ndim == 3 else 1
        shape = (count, *stack.data.shape[-2:])
        kinds = {
            "a": ("network mask", np.uint8),
            "b": ("routine mask", np.uint8),
            "residual_a": ("residual", np.float32),
            "residual_b": ("residual", np.float32),
            "agreement": ("agreement", np.uint8),
        }
        for key, (kind, dtype) in kinds.items():
            self.held[key] = Held(shape, dtype)
            taken = [layer.name for layer in viewer.layers]
            layer = factory.make_result(
                stack, self.held[key], kind, what=key, taken=taken, limits=(0, 1)
            )
            layer.visible = False
            self.layers[key] = layer
            viewer.layers.append(layer)
        linked = [self.layers["residual_a"], self.layers["residual_b"]]
        viewer.layers.link_layers(linked, ("contrast_limits", "gamma", "colormap"))
        self._limits_set = False
        flat = {
            "ndim": 2,
            "visible": False,
            **{k: v[1:] for k, v in factory.placement(stack, shape).items() if k in _FLAT},
        }
        line = Shapes(
            name=f"{stack.name} [profile line]",
            edge_color=_VIOLET,
            edge_width=max(shape[1:]) / 400,
            metadata={factory.KEY: {"kind": "profile line"}},
            **flat,
        )
        pointer = Points(
            np.zeros((1, 2)),
            name=f"{stack.name} [pointer]",
            symbol="cross",
            face_color="#ffe066",
            border_color="transparent",
            metadata={factory.KEY: {"kind": "pointer"}},
            **flat,
        )
        self.layers["line"], self.layers["pointer"] = line, pointer
        viewer.layers.append(line)
        viewer.layers.append(pointer)
        line.events.data.connect(self._on_line)
        viewer.layers.selection = {stack}

    def _set_mode(self, viewer: Viewer, stack: Layer, mode: str) -> None:
        self.mode = mode
        shown = _SHOWN[mode]
        ours = set(self.layers.values())
        rings = self.rings.layers.values()
        for layer in viewer.layers:
            if layer not in ours and layer is not stack and layer not in rings:
                layer.visible = False
        stack.visible = "stack" in shown
        grid = viewer.canvas.grid
        grid.shape = (-1, -1)  # napari cannot have fewer cells than there are layers to show
        grid.stride = 2 if self.rings.on else 1
        gridded = mode in _GRIDS
        for key, layer in self.layers.items():
            layer.visible = key in shown and not (mode == "flicker" and key == "b")
            layer.name_overlay.visible = gridded or mode == "flicker"
            layer.name_overlay.font_size = _CAPTION_PT
        self.rings.follow(self.layers)
        grid.shape = _GRIDS.get(mode, (-1, -1))
        for key, colours in _PALETTES.items():
            ground = "black" if gridded else "transparent"  # a light theme's canvas is white
            wanted = {**colours, 0: ground}
            self.layers[key].colormap = DirectLabelColormap(color_dict=wanted)
            self.layers[key].opacity = 1.0 if gridded else 0.8
        stack.name_overlay.visible = gridded
        stack.name_overlay.font_size = _CAPTION_PT
        corner = viewer.canvas.overlays.text
        corner.position = "bottom_left"  # the scale bar is at the right
        corner.font_size = _CAPTION_PT
        corner.visible, corner.gridded = True, gridded
        changed = grid.enabled != gridded
        grid.enabled = gridded
        if changed:
            viewer.reset_view()
        if mode == "profile" and not len(self.layers["line"].data):
            rows, cols = stack.data.shape[-2:]
            self.set_line(((0, 0), (rows - 1, cols - 1)))
        viewer.layers.selection = {self.layers["line"] if mode == "profile" else stack}
        self._caption()

    # -------------------------------------------------------------------- showing

    def show(self, view: FrameView) -> None:
        """Put a computed projection on the canvas."""
        if not self.on:
            return
        index = view.request.index
        for key, image in view.images.items():
            self.held[key].put(index, image)
        if not self._limits_set:
            self.layers["residual_a"].contrast_limits = (view.sigma, 10 * view.sigma)
            self._limits_set = True
        if self._session.shown_frame(self.stack) == index:
            for key, layer in self.layers.items():
                if key in self.held and layer.visible:
                    layer.refresh()
        elif self.mode == "flicker":
            self.layers["b"].refresh()
        if view.match is not None:
            self._ring(view)

    def _ring(self, view: FrameView) -> None:
        viewer, stack = self._session.viewer, self.stack
        if viewer is None or stack is None:
            return
        was = self.rings.on
        if view.spots is None:
            self.rings.remove(viewer)
        else:
            self.rings.show(viewer, stack, self.layers, view.request.index, view.spots)
        if was != self.rings.on:
            self._align()
            viewer.canvas.grid.stride = 2 if self.rings.on else 1
            self.rings.follow(self.layers)
            viewer.layers.selection = {self.layers["line"] if self.mode == "profile" else stack}

    def _on_zoom(self, _event: object = None) -> None:
        """Marks keep a size on the screen, whatever the camera does."""
        viewer, stack = self._session.viewer, self.stack
        if viewer is None or stack is None:
            return
        zoom = viewer.scene.camera.zoom * float(stack.scale[-1])
        self.rings.resize(stack.data.shape[-1], zoom)
        self.layers["pointer"].size = _POINTER_PX / zoom

    def set_captions(self, a: str, b: str, match: Match | None) -> None:
        """What stands in the cells: the names of A and B, and the counts if they are known."""
        n_a = n_b = ""
        agreement = "agreement"
        if match is not None:
            n_a, n_b = f", {match.n_a}", f", {match.n_b}"
            agreement = f"both {match.found}; only {len(match.only_a)}/{len(match.only_b)}"
        self._captions = {
            "a": ("A: ", a, n_a),
            "b": ("B: ", b, n_b),
            "residual_a": ("left by A", ": a − a·A", ""),
            "residual_b": ("left by B", ": a − a·B", ""),
            "agreement": ("", agreement, ""),
        }
        self._caption()

    def _caption(self, _event: object = None) -> None:
        viewer = self._session.viewer
        if viewer is None or not self.on:
            return
        cells = _GRIDS[self.mode][1] if self.mode in _GRIDS else 1
        letters = int((viewer.canvas.size[1] / cells - _MARGIN_PX) / _LETTER_PX)
        for key, parts in self._captions.items():
            text = shorten(*parts, letters)
            if key in self.layers and self.layers[key].name != text:
                self.layers[key].name = text

    def point_at(self, place: tuple[float, float] | None) -> None:
        """Mark a pixel (row, col) in the image; None takes the mark away."""
        pointer = self.layers.get("pointer")
        if pointer is not None:
            if place is not None:
                pointer.data = np.array([place], float)
            pointer.visible = place is not None and self.mode == "profile"

    def set_corner(self, text: str) -> None:
        """What stands in the corner of each cell: which projection this is."""
        viewer = self._session.viewer
        if self.on and viewer is not None:
            viewer.canvas.overlays.text.text = text

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
        if self.mode != "profile" or not len(self.layers["line"].data):
            return None
        ends = np.asarray(self.layers["line"].data[-1])
        first, last = ends[0], ends[-1]
        if np.hypot(*(last - first)) < 2:
            return None
        return tuple(map(float, first)), tuple(map(float, last))

    def set_line(self, line: Line) -> None:
        """Put the line of the profile elsewhere."""
        layer = self.layers.get("line")
        if layer is None:
            return
        self._changing = True
        layer.data = []
        layer.add_lines([np.array(line, float)], edge_color=_VIOLET)
        self._changing = False
        layer.mode = "select"
        self._line_moved()

    def _on_line(self, _event: Any = None) -> None:
        if not self._changing:
            self._line_moved()
