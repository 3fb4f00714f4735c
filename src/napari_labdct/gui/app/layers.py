"""The layer factory: every result layer this package makes, named, coloured and placed alike.

A result lies exactly over the stack it was made of, whatever its size, and carries in
``layer.metadata["napari-labdct"]`` what made it.  Nothing here hides, moves or removes a
layer of the user's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap

from ..._version import __version__
from ...core.errors import LabDCTError
from ...scan.detector_mask import countable
from ...scan.scan import Scan

#: The one key under which this package keeps anything in a layer's metadata.
KEY = "napari-labdct"

# Blue-green and orange stay apart for colour-blind eyes and on grey.
CYAN = "#00e5ff"
ORANGE = "#ff9f1c"
WHITE = "#ffffff"


class LayerInfo(TypedDict, total=False):
    """What ``layer.metadata["napari-labdct"]`` holds."""

    kind: str
    scan: Scan
    opened: bool
    data: Any
    recipe: dict[str, Any]
    stack: str
    orientation: int
    created: str
    version: str


@dataclass(frozen=True)
class Style:
    """How one kind of result looks.

    Parameters
    ----------
    caption : str
        Stands in brackets behind the stack's name.
    labels : bool
        A Labels layer (masks) or an Image.
    colours : dict
        Pixel value to colour, for labels; the key None is any other value.
    colormap : str
        For images.
    limits : (float, float), optional
        Contrast limits; None takes those of the stack.
    """

    caption: str
    labels: bool = False
    colours: dict[int | None, str] | None = None
    colormap: str = "gray"
    limits: tuple[float, float] | None = None


def _mask(caption: str, colour: str) -> Style:
    return Style(caption, labels=True, colours={None: colour})


STYLES: dict[str, Style] = {
    "cleaned": Style("network result", limits=(0, 255)),
    "network mask": _mask("network mask", CYAN),
    "routine mask": _mask("routine mask", ORANGE),
    "mask": _mask("mask", WHITE),
    "truth": _mask("truth", WHITE),
    "agreement": Style(
        "agreement", labels=True, colours={1: WHITE, 2: CYAN, 3: ORANGE, None: "transparent"}
    ),
    "median": Style("rolling median"),
    "corrected": Style("median-corrected"),
    "residual": Style("residual", colormap="inferno"),
    "background": Style("background", limits=(0, 1)),
    "review": Style(
        "review", labels=True, colours={1: WHITE, 2: "#4aa8ff", 3: "#ff5f1f", None: "transparent"}
    ),
    "edited spots": _mask("edited spots", WHITE),
}


def info_of(layer: Layer) -> LayerInfo:
    """What this package knows of a layer; an empty dict for layers that are not ours."""
    info = layer.metadata.get(KEY)
    return info if isinstance(info, dict) else LayerInfo()


def kind_of(layer: Layer) -> str:
    """``"scan"``, a key of `STYLES`, or an empty string for layers that are not ours."""
    return info_of(layer).get("kind", "")


def orientation_of(layer: Layer) -> int:
    """TIFF Orientation tag of a scan or of a result made of one; 1 if none is known."""
    info = info_of(layer)
    scan = info.get("scan")
    return int(info.get("orientation", 1) if scan is None else scan.orientation)


def remember(layer: Layer, **entries: Any) -> None:
    """Add entries to what this package knows of a layer."""
    layer.metadata[KEY] = {**info_of(layer), **entries}


def contrast_limits(frames: Any, n_samples: int = 3) -> tuple[float, float]:
    """Limits from the 0.5 and 99.8 percentiles of a few projections.

    Parameters
    ----------
    frames : array-like (n, rows, cols)
    n_samples : int
        Projections read, spread over the stack; each is thinned to about 512 pixels an edge.
    """
    count = frames.shape[0]
    shrink = max(1, max(frames.shape[1:]) // 512)
    picked = sorted({int(i) for i in np.linspace(0, count - 1, min(n_samples, count))})
    values = np.concatenate(
        [countable(np.asarray(frames[i])[::shrink, ::shrink]) for i in picked]
    ).astype(np.float32)
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.8)))
    return (low, high) if high > low else (low, low + 1.0)


def placement(like: Layer, shape: tuple[int, ...]) -> dict[str, Any]:
    """Scale, translate, rotation and units that put a result exactly over `like`.

    Parameters
    ----------
    like : Layer
        The stack ``(n, rows, cols)``, or a single image ``(rows, cols)``.
    shape : (n, rows, cols)
        Of the result, whose rows and columns may be fewer than the stack's.
    """
    own = tuple(like.data.shape)[-2:]
    flat = like.ndim == 2
    factor = np.array([1.0, own[0] / shape[1], own[1] / shape[2]])
    scale = np.concatenate([[1.0], like.scale]) if flat else np.asarray(like.scale)
    translate = np.concatenate([[0.0], like.translate]) if flat else np.asarray(like.translate)
    rotate, shear = np.eye(3), np.eye(3)
    affine = np.asarray(like.affine.affine_matrix)
    if flat:
        rotate[1:, 1:] = like.rotate
        shear[1, 2] = np.ravel(like.shear)[-1]
        whole = np.eye(4)
        whole[1:, 1:] = affine
        affine = whole
    else:
        rotate = np.asarray(like.rotate)
        shear[np.triu_indices(3, 1)] = np.ravel(like.shear)
    # The first pixel of a coarser result is centred between the first pixels it stands for.
    shift = rotate @ shear @ (scale * (factor - 1) / 2)
    placed: dict[str, Any] = {"scale": scale * factor, "translate": translate + shift}
    units = ("pixel", *like.units) if flat else like.units
    axis_labels = ("projection", *like.axis_labels) if flat else like.axis_labels
    if not np.allclose(rotate, np.eye(3)):
        placed["rotate"] = rotate
    if not np.allclose(shear, np.eye(3)):
        placed["shear"] = shear[np.triu_indices(3, 1)]
    if not np.allclose(affine, np.eye(4)):
        placed["affine"] = affine
    return {**placed, "units": units, "axis_labels": axis_labels}


def warm_up() -> None:
    """Make one mask layer, for which napari compiles and imports for seconds the first time.

    To be called in a worker, so that the first mask does not freeze the window.
    """
    colormap = DirectLabelColormap(color_dict={None: CYAN, 0: "transparent"})
    Labels(np.zeros((1, 2, 2), np.uint8), colormap=colormap)


def free_name(taken: Sequence[str], name: str) -> str:
    """`name`, or `name` with `` #2``, `` #3``... if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} #{number}"
    return free


def make_result(
    like: Layer,
    data: Any,
    kind: str,
    *,
    recipe: dict[str, Any] | None = None,
    what: str | None = None,
    taken: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
) -> Layer:
    """A layer for one result, not yet in a viewer.

    Parameters
    ----------
    like : Layer
        The stack the result was made of.
    data : array-like (n, rows, cols)
        Shown frame by frame as it is; a lazy stack is never read whole.
    kind : str
        A key of `STYLES`.
    recipe : dict, optional
        What made it, as `core.recipes.recipe` gives it.
    what : str, optional
        The words in brackets, if not those of the style.
    taken : sequence of str
        Names in use.
    limits : (float, float), optional
        Contrast limits of an image; the style's, or the stack's, if not given.

    Raises
    ------
    LabDCTError
        The result has another number of frames than the stack.
    """
    style = STYLES[kind]
    count = like.data.shape[0] if like.ndim == 3 else 1
    if len(data.shape) != 3 or data.shape[0] != count:
        raise LabDCTError(
            f"A result of shape {tuple(data.shape)} does not belong to '{like.name}' "
            f"with {count} projections."
        )
    entries: dict[str, Any] = {
        "kind": kind,
        "recipe": recipe or {},
        "stack": like.name,
        "orientation": orientation_of(like),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "version": __version__,
    }
    shared: dict[str, Any] = {
        "name": free_name(taken, f"{like.name} [{what or style.caption}]"),
        "metadata": {KEY: entries},
        **placement(like, tuple(data.shape)),
    }
    if not style.labels:
        return Image(
            data,
            colormap=style.colormap,
            contrast_limits=limits or style.limits or like.contrast_limits,
            blending="opaque",
            **shared,
        )
    colours = {None: "transparent", 0: "transparent", **(style.colours or {})}
    layer = Labels(
        data,
        colormap=DirectLabelColormap(color_dict=colours),
        blending="translucent",
        opacity=0.8,
        **shared,
    )
    if not isinstance(data, np.ndarray):
        layer.editable = False  # a brush cannot write into frames that are made when asked for
    return layer


LayerData = tuple[Any, dict[str, Any], str]


def scan_layer(path: str | Path | Sequence[str | Path]) -> LayerData:
    """Open a scan as a napari layer-data tuple.

    Parameters
    ----------
    path : path or list of path
        As for `io.open_scan`.

    Raises
    ------
    ScanError
        Nothing usable is there.
    """
    from ...io import open_scan

    made = layer_data(open_scan(path))
    made[1]["metadata"][KEY]["opened"] = True
    return made


def layer_data(scan: Scan) -> LayerData:
    """An Image layer of a scan: contrast, scale in micrometres, axis names, description."""

    limits = contrast_limits(scan.frames)
    options = {
        "name": scan.name,
        "contrast_limits": limits,
        "colormap": "gray",
        "axis_labels": ("projection", "y", "x"),
        "metadata": {KEY: {"kind": "scan", "scan": scan, "data": scan.frames}},
        **scale_and_units(scan),
    }
    return scan.frames, options, "image"


def scale_and_units(scan: Scan) -> dict[str, Any]:
    """Scale and units of the three axes; pixels if the pixel size is not known."""
    pixel = scan.description.pixel_um
    if pixel is None:
        return {"scale": (1.0, 1.0, 1.0), "units": ("pixel", "pixel", "pixel")}
    return {"scale": (1.0, pixel, pixel), "units": ("pixel", "um", "um")}
