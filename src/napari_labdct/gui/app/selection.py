"""What the user has selected in the layer list stays selected when layers come by themselves."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from napari.components import LayerList


@contextmanager
def keeping_selection(layers: LayerList) -> Generator[None, None, None]:
    """Add layers without taking the selection, and with it the brush, from the user.

    napari selects every layer that is added.  If nothing was selected before, it still does.
    """
    selected = set(layers.selection)
    yield
    kept = {layer for layer in selected if layer in layers}
    if kept:
        layers.selection = kept
