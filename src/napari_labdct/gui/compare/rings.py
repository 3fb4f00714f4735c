"""Rings round the predicted spots of a grain, over the derived layers of the views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.layers import Layer, Points
from napari.viewer import Viewer

from ..app import layers as factory
from ..app.predicted_spots import features_of, ring_px
from ..app.selection import keeping_selection

#: Apart from cyan, orange and white for colour-blind eyes too.
MAGENTA = "#ff61d2"
_RINGED = ("a", "b", "residual_a", "residual_b", "agreement")
_LINE = 0.12  # of the ring's diameter
_SMALLEST_PX = 13  # on the screen, however far one zooms out


class Rings:
    """Rings round the predicted spots, one layer over each derived layer of the views.

    In napari's grid a layer stands in one cell, and two neighbours share a cell if the stride is
    2.  So each layer that can carry rings is followed by its rings, and the first of them has an
    even place in the list.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Points] = {}
        self._size = 0.0

    @property
    def on(self) -> bool:
        return bool(self.layers)

    def show(
        self, viewer: Viewer, stack: Layer, under: Mapping[str, Layer], index: int, spots: Any
    ) -> None:
        """Ring the spots of projection `index` (rows of ``measured.PREDICTION_DTYPE``)."""
        if not self.on:
            self._add(viewer, stack, under)
        at = np.column_stack([np.full(len(spots), index), spots["row"], spots["col"]])
        for layer in self.layers.values():
            layer.selected_data = set()
            layer.data = at.astype(float)
            layer.features = features_of(spots)
            # points that come to an empty layer look like napari's, not like those before
            layer.size = self._size
            layer.border_width = _LINE
            layer.border_color, layer.face_color = MAGENTA, "transparent"

    def resize(self, cols: int, zoom: float) -> None:
        """Keep the rings large enough to be seen at `zoom` screen pixels a detector pixel."""
        size = max(ring_px(cols), _SMALLEST_PX / zoom)
        if abs(size - self._size) > 0.05 * self._size:
            self._size = size
            for layer in self.layers.values():
                layer.size = size

    def follow(self, under: Mapping[str, Layer]) -> None:
        """Show the rings of the layers that are shown."""
        for key, layer in self.layers.items():
            layer.visible = under[key].visible

    def remove(self, viewer: Viewer) -> None:
        """Take the rings away."""
        layers, self.layers = self.layers, {}
        for layer in layers.values():
            if layer in viewer.layers:
                viewer.layers.remove(layer)

    def _add(self, viewer: Viewer, stack: Layer, under: Mapping[str, Layer]) -> None:
        ringed = [key for key in _RINGED if key in under]
        placed = factory.placement(stack, under[ringed[0]].data.shape)
        for key in ringed:
            layer = Points(
                np.zeros((0, 3)),
                ndim=3,
                name=f"predicted spots ({key.replace('_', ' ')})",
                visible=False,
                metadata={factory.KEY: {"kind": "predicted spots"}},
                **placed,
            )
            self.layers[key] = layer
            with keeping_selection(viewer.layers):
                viewer.layers.insert(viewer.layers.index(under[key]) + 1, layer)
