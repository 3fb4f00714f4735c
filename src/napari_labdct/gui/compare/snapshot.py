"""What the user had on the canvas before a view of Compare, and how it comes back."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer

#: Of the text over the image; what it says is the session's (`gui.app.view`), or the user's.
_CORNER = ("visible", "gridded", "position", "font_size")


@dataclass(frozen=True)
class Snapshot:
    """What the user had on the canvas."""

    layers: list[tuple[weakref.ref[Layer], bool, bool, float]]
    selection: list[weakref.ref[Layer]]
    grid: tuple[bool, int, tuple[int, int], float]
    corner: dict[str, Any]
    camera: tuple[tuple[float, ...], float]

    def add(self, layer: Layer) -> None:
        """Also bring this layer back as it is now."""
        name = layer.name_overlay
        self.layers.append((weakref.ref(layer), layer.visible, name.visible, name.font_size))


def take_snapshot(viewer: Viewer) -> Snapshot:
    """Visibility, selection, grid, overlays and camera of a viewer."""
    grid = viewer.canvas.grid
    corner = viewer.canvas.overlays.text
    camera = viewer.scene.camera
    taken = Snapshot(
        [],
        [weakref.ref(layer) for layer in viewer.layers.selection],
        (grid.enabled, grid.stride, tuple(grid.shape), grid.spacing),
        {name: getattr(corner, name) for name in _CORNER},
        (tuple(camera.center), float(camera.zoom)),
    )
    for layer in viewer.layers:
        taken.add(layer)
    return taken


def restore_layers(viewer: Viewer, was: Snapshot) -> None:
    """Bring all of a `Snapshot` back but the camera, as far as its layers still exist."""
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


def restore_camera(viewer: Viewer, was: Snapshot) -> None:
    """Bring the camera back, once the canvas has taken in what `restore_layers` changed."""
    viewer.scene.camera.center, viewer.scene.camera.zoom = was.camera
