"""The grains of a sample in 3D, coloured by orientation, on a canvas of their own.

The viewer's canvas shows projections, whose first axis is the rotation angle; a volume in
micrometres has no place among them.  What is drawn is the outside of the grains as a surface:
a tenth of the work of rendering the volume, and alike on every graphics card.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from napari.components import ViewerModel
from napari.layers import Surface
from napari.qt import QtViewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from ...crystal import GrainMap, ipf_colour
from .forms import tame

# Voxels along the longest edge of what is drawn; finer maps are thinned.
_DRAWN = 128
_HEIGHT = 250
# (z, y, x): downstream from the source, a little from above and from the side.
_VIEW, _UP = (-0.45, 0.45, 1.0), (1.0, 0.0, 0.0)
_LAMP = (0.8, -0.3, -1.0)
_KEY = "Colour: crystal direction along z (cubic: red [001], green [101], blue [111])."

Mesh = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Grains:
    """A sample as it is shown: the volume and a colour for each grain.

    Parameters
    ----------
    map : GrainMap
    colours : ndarray (n, 3)
        Red, green, blue in 0..1.
    """

    map: GrainMap
    colours: np.ndarray

    @cached_property
    def meshes(self) -> tuple[Mesh, Mesh]:
        """Surface of the whole sample, and without the quarter that faces the camera."""
        labels = np.array(self.map.labels)
        whole = self._mesh(labels)
        labels[:, : labels.shape[1] // 2, : labels.shape[2] // 2] = 0
        return whole, self._mesh(labels)

    def looks_like(self, other: Grains) -> bool:
        """Whether another sample is the same one, made again."""
        mine, theirs = self.map, other.map
        return (
            mine.labels.shape == theirs.labels.shape
            and mine.voxel_um == theirs.voxel_um
            and np.array_equal(self.colours, other.colours)
            and np.array_equal(mine.voxels_per_grain, theirs.voxels_per_grain)
        )

    def _mesh(self, labels: np.ndarray) -> Mesh:
        step = max(1, -(-max(labels.shape) // _DRAWN))
        labels = labels[::step, ::step, ::step]
        vertices, faces, grain = outside(labels)
        middle = (np.array(self.map.labels.shape) - 1) / 2
        centre_um = np.array(self.map.center_mm)[::-1] * 1e3
        at_um = (vertices * step + (step - 1) / 2 - middle) * self.map.voxel_um + centre_um
        light = _light(labels > 0, vertices)
        rgba = np.column_stack([self.colours[grain - 1] * light[:, None], np.ones(len(grain))])
        return at_um.astype(np.float32), faces, rgba.astype(np.float32)


def colour(grains: GrainMap, symmetry: np.ndarray) -> Grains:
    """Grains with the colours of their orientations along z, ready to be drawn."""
    made = Grains(grains, ipf_colour(grains.orientations, symmetry))
    _ = made.meshes  # here, in the worker
    return made


def outside(labels: np.ndarray) -> Mesh:
    """Faces of voxels that look out of the sample.

    Parameters
    ----------
    labels : ndarray of int (nz, ny, nx)
        0 outside.

    Returns
    -------
    vertices : ndarray (n, 3)
        In voxels, integers at voxel centres.
    faces : ndarray of int (m, 3)
        Two triangles a face.
    label : ndarray (n,)
        Of the voxel that each vertex belongs to.
    """
    padded = np.pad(labels, 1)
    vertices, label = [np.zeros((0, 4, 3), np.float32)], [np.zeros(0, labels.dtype)]
    for axis in range(3):
        for side in (1, -1):
            free = (padded > 0) & (np.roll(padded, -side, axis) == 0)
            index = np.argwhere(free)
            first, second = (a for a in range(3) if a != axis)
            quad = np.repeat((index - 1).astype(np.float32)[:, None], 4, axis=1)
            quad[:, :, axis] += 0.5 * side
            quad[:, :, first] += (-0.5, 0.5, 0.5, -0.5)
            quad[:, :, second] += (-0.5, -0.5, 0.5, 0.5)
            vertices.append(quad)
            label.append(padded[tuple(index.T)])
    corners, owner = np.concatenate(vertices), np.concatenate(label)
    first = 4 * np.arange(len(corners))[:, None]
    faces = np.concatenate([first + np.array(t) for t in ((0, 1, 2), (0, 2, 3))])
    return corners.reshape(-1, 3), faces, np.repeat(owner, 4)


def _light(solid: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Brightness (n,) of the vertices under a lamp beside the camera.

    The slope of the blurred solid stands for its surface, so that steps of voxels do not show.
    """
    from scipy import ndimage as ndi

    soft = ndi.gaussian_filter(np.pad(solid, 3).astype(np.float32), 2.0)
    at = (vertices + 3).T
    slope = [ndi.map_coordinates(-g, at, order=1) for g in np.gradient(soft)]
    normal = np.stack(slope, axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    lamp = np.array(_LAMP) / np.linalg.norm(_LAMP)
    return 0.55 + 0.45 * np.clip(normal @ lamp, 0, 1)


class GrainsView(QWidget):
    """A small 3D canvas; made when the first grains are shown.

    Attributes
    ----------
    model : napari.components.ViewerModel or None
    layer : napari.layers.Surface or None
        The outside of the grains, (z, y, x) in micrometres.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model: ViewerModel | None = None
        self.layer: Surface | None = None
        self._canvas: QtViewer | None = None
        self._frame: QWidget | None = None
        self._grains: Grains | None = None
        self._drawn: Grains | None = None
        self.cut = QCheckBox("Cut open")
        tame(self.cut, "Cut open", "Take a quarter of the sample away to look inside")
        self.cut.toggled.connect(self._on_cut)
        self.cut.hide()
        self.caption = QLabel("Preview a projection to see the grains here.")
        self.caption.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.cut)
        layout.addWidget(self.caption)

    def show_grains(self, grains: Grains) -> None:
        """Show a sample; nothing is drawn while the view is folded."""
        self._grains = grains
        if self.isVisible():
            self._draw()

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if self._grains is not None:
            self._draw()

    def _draw(self) -> None:
        grains = self._grains
        if self._drawn is not None and self._drawn.looks_like(grains):
            return
        if self.model is None:
            self._make_canvas()
        self._fill()
        self._drawn = grains
        self.cut.show()
        count = grains.map.n_grains
        self.caption.setText(f"{count} grain{'s' if count != 1 else ''}. {_KEY}")
        # The canvas knows its size only once it has been laid out.
        QTimer.singleShot(0, self.fit)

    def _make_canvas(self) -> None:
        self.model = ViewerModel(title="Grains", ndisplay=3)
        self._canvas = QtViewer(self.model)
        self._canvas.dims.hide()
        self._canvas.setAcceptDrops(False)
        self._canvas.canvas.native.setMinimumSize(120, 120)
        self._canvas.setAccessibleName("Grains in 3D")
        self._frame = frame = (
            QWidget()
        )  # napari's style sheet lets the canvas itself grow without bounds
        frame.setFixedHeight(_HEIGHT)
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self._canvas)
        self.layout().insertWidget(0, frame)

    def _fill(self) -> None:
        vertices, faces, rgba = self._grains.meshes[int(self.cut.isChecked())]
        if self.layer is not None:
            self.layer.vertex_colors = None
            self.layer.data = (vertices, faces)
            self.layer.vertex_colors = rgba
            return
        self.layer = Surface(
            (vertices, faces),
            vertex_colors=rgba,
            shading="none",
            name="grains",
            units=("um", "um", "um"),
            axis_labels=("z", "y", "x"),
        )
        self.model.layers.append(self.layer)

    def _on_cut(self) -> None:
        if self.model is not None and self._grains is not None:
            angles = self.model.scene.camera.angles
            self._fill()
            self.model.scene.camera.angles = angles

    def fit(self) -> None:
        """Turn the sample upright and let it fill the canvas."""
        if self.model is None or self.layer is None:
            return
        self.model.reset_view()
        self.model.scene.camera.set_view_direction(_VIEW, _UP)
        low, high = self.layer.extent.world
        size = np.maximum(high - low, 1e-3)
        across = np.hypot(size[1], size[2])
        canvas = self._canvas.canvas.native
        room = (canvas.width() / across, canvas.height() / (0.92 * size[0] + 0.4 * across))
        self.model.scene.camera.zoom = 0.9 * min(room)

    def hideEvent(self, event) -> None:
        # A widget learns of its end too late to close a canvas, but it is hidden before.
        super().hideEvent(event)
        self.release()

    def release(self) -> None:
        """Give the canvas back to the graphics card."""
        canvas, self._canvas = self._canvas, None
        frame, self._frame = self._frame, None
        self.model = self.layer = self._drawn = None
        if canvas is not None:
            canvas.viewer.layers.clear()
            canvas.close()
            frame.deleteLater()
