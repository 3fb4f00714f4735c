"""A small napari canvas with a volume of grains, their centres, the chosen one and a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Points
from napari.qt import QtViewer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from .volume import Drawn

_HEIGHT = 170
_SIDE, _UP = (-0.45, 0.45, 1.0), (1.0, 0.0, 0.0)
_UNITS = {"units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}
_CHOSEN = "#ffe14d"
#: More ids than this would hide the grains.
_MOST_IDS = 80


class VolumeCanvas(QWidget):
    """The canvas; made when something is there to be seen, given back when it is hidden.

    Attributes
    ----------
    clicked : signal(int)
        The label that was clicked; 0 beside the grains.
    pointed : signal(object)
        (z, y, x) in micrometres that was clicked in a slice.
    stepped : signal(int)
        The left (-1) or right (+1) arrow was pressed over the canvas.
    said : signal(str)
        What is drawn.
    axis : int or None
        Slices along this axis are shown; None for 3D.
    with_centres : bool
        Show the centres with their ids.
    """

    clicked = Signal(int)
    pointed = Signal(object)
    stepped = Signal(int)
    said = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.model: ViewerModel | None = None
        self.grains: Labels | None = None
        self.axis: int | None = None
        self.with_centres = False
        self._canvas: QtViewer | None = None
        self._frame: QWidget | None = None
        self._height = _HEIGHT
        self._fitted = False
        self._drawn: Drawn | None = None
        self._shown: Drawn | None = None
        self._centres: tuple[np.ndarray, np.ndarray] = (np.zeros((0, 3)), np.zeros(0, int))
        self._chosen: tuple[np.ndarray, np.ndarray] | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)

    def show_volume(self, drawn: Drawn | None) -> None:
        """Draw a volume; nothing is drawn while the view is hidden."""
        self._drawn = drawn
        if drawn is not None:
            self.said.emit(drawn.key)
        if self.isVisible():
            self._draw()

    def show_points(self, points_um: np.ndarray, ids: np.ndarray) -> None:
        """Centres (n, 3), (z, y, x), and what the grains are called."""
        self._centres = (np.asarray(points_um, float).reshape(-1, 3), np.asarray(ids))
        if self.isVisible() and self._drawn is None:  # nothing else is there to be drawn
            self._draw()
        else:
            self._show_centres()

    def show_chosen(self, labels: np.ndarray | None, first: np.ndarray | None) -> None:
        """Light a grain up: the part of the volume about it, 1 in the grain.

        Parameters
        ----------
        labels : ndarray (nz, ny, nx) or None
            None if no grain is chosen.
        first : ndarray (3,)
            (z, y, x) of its first voxel's middle, and the edge of its voxels, um.
        """
        self._chosen = None if labels is None else (labels, first)
        self._show_chosen()

    def show_point(self, point_um: np.ndarray | None) -> None:
        """A cross where a grain is to be seeded."""
        self._point = point_um
        if self.model is not None:
            data = np.zeros((0, 3)) if point_um is None else np.array([point_um])
            self._points("seed", data, symbol="cross", face_color=_CHOSEN)

    def set_room(self, height: int) -> None:
        """Make the canvas higher where the dock has room for it."""
        self._height = max(_HEIGHT, height)
        if self._frame is not None and self._frame.height() != self._height:
            self._frame.setFixedHeight(self._height)
            QTimer.singleShot(0, self.fit)

    # ---------------------------------------------------------------------- drawing

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if self._drawn is not None or len(self._centres[0]):
            self._draw()

    def _draw(self) -> None:
        if self._drawn is None and not len(self._centres[0]):
            if self.grains is not None:
                self.release()
            return
        if self.model is None:
            self._make_canvas()
        if self._drawn is not self._shown and self._drawn is not None:
            self._fill(self._drawn)
        elif self._drawn is None and self.grains is not None:
            self.model.layers.remove(self.grains)
            self.grains = None
        self._shown = self._drawn
        self._show_centres()
        self._show_chosen()
        if not self._fitted:
            self._fitted = True
            QTimer.singleShot(0, self.fit)  # the canvas knows its size only once it is laid out

    def _make_canvas(self) -> None:
        self.model = ViewerModel(title="Grains", ndisplay=3)
        self._canvas = QtViewer(self.model)
        self._canvas.dims.hide()
        self._canvas.setAcceptDrops(False)
        self._canvas.setAccessibleName("Grains")
        self._canvas.canvas.native.setMinimumSize(120, 100)
        # napari's style sheet lets the canvas itself grow without bounds
        self._frame = frame = QWidget()
        frame.setFixedHeight(self._height)
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self._canvas)
        self._layout.insertWidget(1, frame)
        self.model.mouse_drag_callbacks.append(self._on_mouse)
        for key, step in (("Left", -1), ("Right", 1)):
            self.model.bind_key(key, self._stepper(step), overwrite=True)

    def _stepper(self, step: int) -> Callable:
        def press(_viewer) -> None:
            self.stepped.emit(step)

        return press

    def _fill(self, drawn: Drawn) -> None:
        colours = CyclicLabelColormap(colors=drawn.colours) if len(drawn.colours) > 1 else None
        placed = {"scale": (drawn.voxel_um,) * 3, "translate": drawn.first_um}
        same = self.grains is not None and self.grains.data.shape == drawn.labels.shape
        if same:
            if colours is not None:
                self.grains.colormap = colours
            self.grains.data = drawn.labels
            self.grains.scale, self.grains.translate = placed["scale"], placed["translate"]
        else:
            if self.grains is not None:
                self.model.layers.remove(self.grains)
            more = {} if colours is None else {"colormap": colours}
            self.grains = Labels(
                drawn.labels, name="grains", blending="translucent", **placed, **more, **_UNITS
            )
            self.grains.editable = False
            self.model.layers.insert(0, self.grains)
            self._fitted = False
            self._turn()

    def _show_centres(self, *_: object) -> None:
        if self.model is None:
            return
        points, ids = self._centres
        alone = self._drawn is None
        if not (self.with_centres or alone):
            points, ids = points[:0], ids[:0]
        self._points("centres", points, symbol="disc", face_color="white")
        layer = self.model.layers["centres"]
        named = len(ids) if len(ids) <= _MOST_IDS else 0
        if named:
            layer.features = {"id": ids}
            layer.text = {"string": "{id}", "size": 8, "color": "white", "translation": [0, 0, 0]}
        else:
            layer.text = None

    def _points(self, name: str, data: np.ndarray, **look) -> None:
        """One of the point layers, made when first needed."""
        if name not in self.model.layers:
            if not len(data) and name != "centres":
                return
            layer = Points(
                np.zeros((0, 3)), ndim=3, name=name, size=self._size(), border_width=0,
                blending="translucent_no_depth", **look, **_UNITS,
            )  # fmt: skip
            layer.out_of_slice_display = False
            self.model.layers.append(layer)
        layer = self.model.layers[name]
        layer.text = None
        layer.features = {}
        layer.data = data
        layer.size = self._size()

    def _size(self) -> float:
        if self._drawn is not None:
            return max(1.5, 0.02 * max(self._drawn.labels.shape)) * self._drawn.voxel_um
        points = self._centres[0]
        return float(0.03 * max(np.ptp(points, axis=0).max(), 1)) if len(points) else 1.0

    def _show_chosen(self) -> None:
        if self.model is None:
            return
        layer = next((x for x in self.model.layers if x.name == "chosen"), None)
        if self._chosen is None:
            if layer is not None:
                layer.visible = False
        else:
            labels, first = self._chosen
            labels = np.ascontiguousarray(labels, np.uint8)
            placed = {"scale": (first[3],) * 3, "translate": first[:3]}
            # one layer for all grains: to add and to remove one takes half a second
            if layer is None:
                self._add_chosen(labels, placed)
            else:
                with layer.events.data.blocker():
                    layer.data = labels
                if not np.allclose(layer.scale, placed["scale"]):
                    layer.scale = placed["scale"]
                layer.translate = placed["translate"]
                layer.visible = True
            if self.axis is not None:
                self.go_to(np.array(np.nonzero(labels)).mean(axis=1) * first[3] + first[:3])
        if self.grains is not None:
            self.grains.opacity = 0.35 if self._chosen is not None else 1.0

    def _add_chosen(self, labels: np.ndarray, placed: dict) -> None:
        layer = Labels(
            labels,
            name="chosen",
            opacity=0.9,
            colormap=DirectLabelColormap(color_dict={None: "transparent", 1: _CHOSEN}),
            blending="translucent_no_depth",
            **placed,
            **_UNITS,
        )
        layer.editable = False
        self.model.layers.insert(1 if self.grains is not None else 0, layer)

    def _turn(self) -> None:
        """Show the axis that is asked for, from the middle."""
        if self.model is None:
            return
        if self.axis is None:
            self.model.dims.ndisplay = 3
            self.model.dims.order = (0, 1, 2)
        else:
            others = tuple(a for a in range(3) if a != self.axis)
            self.model.dims.order = (self.axis, *others)
            self.model.dims.ndisplay = 2
        self.fit()

    def go_to(self, point_um: np.ndarray) -> None:
        """Show the slice that holds a point (z, y, x)."""
        if self.model is not None and self.axis is not None:
            self.model.dims.set_point(self.axis, float(point_um[self.axis]))

    def fit(self) -> None:
        """Let the sample fill the canvas, upright in 3D."""
        if self.model is None or not len(self.model.layers):
            return
        self.model.reset_view()
        if self.axis is not None:
            if self.axis > 0:
                self.model.scene.camera.orientation2d = ("up", "right")
            else:
                self.model.scene.camera.orientation2d = ("down", "right")
            return
        self.model.scene.camera.set_view_direction(_SIDE, _UP)
        low, high = np.array(self.model.layers.extent.world)
        size = np.maximum(high - low, 1e-3)
        across = np.hypot(size[1], size[2])
        canvas = self._canvas.canvas.native
        room = (canvas.width() / across, canvas.height() / (0.92 * size[0] + 0.4 * across))
        self.model.scene.camera.zoom = 0.9 * min(room)

    # ----------------------------------------------------------------------- clicks

    def _on_mouse(self, _viewer, event):
        """A click picks a grain; a drag turns the sample."""
        start = tuple(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if max(abs(a - b) for a, b in zip(start, event.pos)) < 4 and event.button == 1:
            self.pick(event.position, event.view_direction, list(event.dims_displayed))

    def pick(self, position, view_direction, displayed: list[int]) -> None:
        """A click at a place of the world, seen along a direction."""
        if self.grains is None or self._shown is None:
            return
        if self.axis is not None:
            self.pointed.emit(np.array(position[-3:], float))
        if not self._shown.grains:
            return
        value = self.grains.get_value(
            position, view_direction=view_direction, dims_displayed=displayed, world=True
        )
        self.clicked.emit(int(value or 0))

    # ---------------------------------------------------------------------- the end

    def hideEvent(self, event) -> None:
        # a widget learns of its end too late to close a canvas, but it is hidden before
        super().hideEvent(event)
        self.release()

    def release(self) -> None:
        """Give the canvas back to the graphics card."""
        canvas, self._canvas = self._canvas, None
        frame, self._frame = self._frame, None
        self.model = self.grains = self._shown = None
        self._fitted = False
        if canvas is not None:
            canvas.viewer.layers.clear()
            canvas.close()
            frame.deleteLater()
