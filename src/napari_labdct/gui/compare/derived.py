"""The layers that Compare computes over a stack: made when a view first shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from napari.layers import Layer
from napari.utils.colormaps import DirectLabelColormap
from napari.viewer import Viewer

from ..app import layers as factory
from ..app.selection import keeping_selection
from .engine import Held
from .profile_line import ProfileLine
from .request import FrameView

_KINDS = {
    "a": ("network mask", np.uint8),
    "b": ("routine mask", np.uint8),
    "residual_a": ("residual", np.float32),
    "residual_b": ("residual", np.float32),
    "agreement": ("agreement", np.uint8),
}
_ORDER = (*_KINDS, "line", "pointer")
_PALETTES = {
    "a": {1: factory.CYAN, None: "transparent"},
    "b": {1: factory.ORANGE, None: "transparent"},
    "agreement": {1: factory.WHITE, 2: factory.CYAN, 3: factory.ORANGE, None: "transparent"},
}


@contextmanager
def in_one_batch(viewer: Viewer) -> Iterator[None]:
    """Let the canvas take in many changes of layers and grid at once, at the end."""
    with viewer.layers.batched_update():
        yield


class Derived:
    """Masks, residuals, agreement and the profile's line of one stack.

    Parameters
    ----------
    stack : Layer
    line_moved : callable
        Called when the user moved the line of the profile.

    Attributes
    ----------
    layers : dict
        Those that exist: ``a``, ``b``, ``residual_a``, ``residual_b``, ``agreement``, ``line``
        and ``pointer``.
    held : dict
        What the first five show.
    """

    def __init__(self, stack: Layer, line_moved: Callable[[], None]) -> None:
        count = stack.data.shape[0] if stack.ndim == 3 else 1
        self._shape = (count, *stack.data.shape[-2:])
        self._moved = line_moved
        self._limits: tuple[float, float] | None = None
        self._grounds: dict[str, str] = {}
        self.line: ProfileLine | None = None
        self.layers: dict[str, Layer] = {}
        self.held = {key: Held(self._shape, dtype) for key, (_, dtype) in _KINDS.items()}

    def add(self, viewer: Viewer, stack: Layer, keys: Iterable[str]) -> bool:
        """Make the layers of some keys, hidden, unless they exist; whether one was made."""
        wanted = {"line", "pointer"} if "line" in keys else set()
        wanted |= {key for key in keys if key in _KINDS}
        missing = [key for key in _ORDER if key in wanted and key not in self.layers]
        for key in missing:
            after = [k for k in _ORDER[_ORDER.index(key) :] if k in self.layers]
            place = viewer.layers.index(self.layers[after[0]]) if after else len(viewer.layers)
            taken = [layer.name for layer in viewer.layers]
            self.layers[key] = self._make(stack, key, taken)
            with keeping_selection(viewer.layers):
                viewer.layers.insert(place, self.layers[key])
        if "residual_a" in missing:
            linked = [self.layers["residual_a"], self.layers["residual_b"]]
            viewer.layers.link_layers(linked, ("contrast_limits", "gamma", "colormap"))
            if self._limits is not None:
                linked[0].contrast_limits = self._limits
        return bool(missing)

    def _make(self, stack: Layer, key: str, taken: list[str]) -> Layer:
        if key not in _KINDS:
            if self.line is None:
                self.line = ProfileLine(stack, self._shape, self._moved)
            return self.line.layer if key == "line" else self.line.pointer
        layer = factory.make_result(
            stack, self.held[key], _KINDS[key][0], what=key, taken=taken, limits=(0, 1)
        )
        layer.visible = False
        return layer

    def remove(self, viewer: Viewer) -> None:
        """Take the layers away."""
        layers, self.layers = self.layers, {}
        for layer in layers.values():
            if layer in viewer.layers:
                viewer.layers.remove(layer)

    def put(self, view: FrameView) -> None:
        """Take in what was computed of a projection."""
        for key, image in view.images.items():
            self.held[key].put(view.request.index, image)
        if self._limits is None:
            self._limits = (view.sigma, 10 * view.sigma)
            if "residual_a" in self.layers:
                self.layers["residual_a"].contrast_limits = self._limits

    def refresh(self) -> None:
        """Show what was taken in."""
        for key, layer in self.layers.items():
            if key in self.held and layer.visible:
                layer.refresh()

    def colour(self, gridded: bool) -> None:
        """Masks in cells of their own are on black, for a light theme's canvas is white."""
        ground = "black" if gridded else "transparent"
        for key, colours in _PALETTES.items():
            layer = self.layers.get(key)
            if layer is None:
                continue
            if self._grounds.get(key) != ground:  # another colormap is another shader
                self._grounds[key] = ground
                layer.colormap = DirectLabelColormap(color_dict={**colours, 0: ground})
            layer.opacity = 1.0 if gridded else 0.8
