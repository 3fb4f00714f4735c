"""One kind of unit in a window: napari draws layers in pixels and in micrometres wrongly together.

It warns at every draw of such a mixture, shows the one in pixels as a thumbnail in a corner, and
may crash in OpenGL when one of them is removed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pint
from napari.components import LayerList
from napari.layers import Layer

from .layers import info_of, kind_of


def is_length(layer: Layer) -> bool:
    """Whether rows and columns of a layer are measured as a length."""
    return all(pint.Unit(str(unit)).is_compatible_with("um") for unit in layer.units[-2:])


def align_units(layers: LayerList) -> None:
    """Give the layers in pixels micrometres as long as any layer is measured so.

    A scan without a pixel size, and what lies over it, is drawn with the pixel size of another
    open scan, so that the two lie over each other; its description still says that none is
    known.  A layer that this package did not make keeps its scale.
    """
    if any(is_length(layer) for layer in layers):
        _measure(layers, _drawn_pixel_um(layers))


def make_room(layers: LayerList, options: dict[str, Any]) -> None:
    """Align the units of the open layers and of a scan that is about to join them.

    napari draws as it inserts a layer, so afterwards is too late.

    Parameters
    ----------
    layers : LayerList
    options : dict
        Of the scan's layer; its scale and units are changed if it is the one without a pixel size.
    """
    _, rows, _ = options["scale"]
    if str(options["units"][-1]) != "pixel":
        _measure(layers, rows)
    elif any(is_length(layer) for layer in layers):
        pixel_um = _drawn_pixel_um(layers)
        options["scale"] = (1.0, pixel_um, pixel_um)
        options["units"] = ("pixel", "um", "um")


def _measure(layers: LayerList, pixel_um: float) -> None:
    for layer in layers:
        if all(pint.Unit(str(unit)) == pint.Unit("pixel") for unit in layer.units[-2:]):
            if kind_of(layer):
                _stretch(layer, pixel_um)
            layer.units = (*layer.units[:-2], "um", "um")


def _drawn_pixel_um(layers: LayerList) -> float:
    """Pixel size of an open scan, known or itself lent; 1 if there is none."""
    scans = [layer for layer in layers if info_of(layer).get("scan") is not None]
    known = [info_of(layer)["scan"].description.pixel_um for layer in scans]
    lent = [float(layer.scale[-1]) for layer in scans if is_length(layer)]
    return next((pixel for pixel in [*known, *lent] if pixel is not None), 1.0)


def _stretch(layer: Layer, factor: float) -> None:
    """Scale rows and columns about the world's origin."""
    by = np.ones(layer.ndim)
    by[-2:] = factor
    layer.scale, layer.translate = np.asarray(layer.scale) * by, np.asarray(layer.translate) * by
    if not np.allclose(layer.affine.translate, 0):
        affine = np.array(layer.affine.affine_matrix)
        affine[:-1, -1] *= by
        layer.affine = affine
