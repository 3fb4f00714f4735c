"""The validation crops as layers beside the scan: frame, output and target in columns."""

from __future__ import annotations

import weakref

import numpy as np
from napari.layers import Image, Layer

from ..app import layers as factory
from ..app.selection import keeping_selection
from ..app.session import Session
from .plot import stretched

_GAP_PX = 8
#: The triptych: captions of the layers and names in the file of pictures.
_COLUMNS = {"x": "frame", "output": "output", "y_c": "target"}


class CropLayers:
    """Three layers in the viewer, as long as the user wants them.

    Attributes
    ----------
    on : bool
        Whether they are wanted.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layers: list[weakref.ref[Layer]] = []
        self.on = False

    def remove(self) -> None:
        """Take the layers away."""
        viewer = self._session.viewer
        for ref in self._layers:
            if viewer is not None and self._session.contains(layer := ref()):
                viewer.layers.remove(layer)
        self._layers = []

    def show(self, iteration: int, pictures: dict[str, np.ndarray]) -> None:
        """Show the crops of one validation."""
        viewer = self._session.viewer
        if viewer is None or not self.on:
            return
        shown = [layer for ref in self._layers if self._session.contains(layer := ref())]
        columns = {name: mosaic(pictures[key]) for name, key in _COLUMNS.items()}
        same = len(shown) == len(columns) and shown[0].data.shape == columns["x"].shape
        if same:
            for layer, data in zip(shown, columns.values(), strict=True):
                layer.data = data
        else:
            self.remove()
            shown = _columns_of_layers(columns, self._session.stack)
            with keeping_selection(viewer.layers):
                viewer.layers.extend(shown)
            self._layers = [weakref.ref(layer) for layer in shown]
            viewer.reset_view()
        for layer in shown:
            factory.remember(layer, kind="validation", iteration=iteration)


def mosaic(stack: np.ndarray) -> np.ndarray:
    """Crops ``(k, n, n)`` under one another, 0 to 255; those of counts each stretched alone."""
    tiles = [np.pad(stretched(image), ((0, _GAP_PX), (0, 0))) for image in stack]
    return np.concatenate(tiles)[:-_GAP_PX]


def _columns_of_layers(columns: dict[str, np.ndarray], stack: Layer | None) -> list[Image]:
    """The columns side by side, as high as the scan and at its right if one is open."""
    scale, corner, units = np.ones(2), np.zeros(2), None
    rows, cols = columns["x"].shape
    if stack is not None:
        own_rows, own_cols = stack.data.shape[-2:]
        scale = np.asarray(stack.scale)[-2:] * own_rows / rows
        right = 1.05 * own_cols * stack.scale[-1]
        corner = np.asarray(stack.translate)[-2:] + np.array([0, right])
        units = stack.units[-2:]
    made = []
    for number, (name, data) in enumerate(columns.items()):
        shift = corner + scale * np.array([0, number * (cols + _GAP_PX)])
        layer = Image(
            data, name=f"validation [{name}]", contrast_limits=(0, 255), scale=scale,
            translate=shift, units=units,
        )  # fmt: skip
        factory.remember(layer, kind="validation")
        made.append(layer)
    return made
