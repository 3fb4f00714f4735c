"""The layers of a review: statuses, the brush's layer, the box round a spot, the region.

All of them lie over the stack they belong to and are made when they are first needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from napari.layers import Labels, Layer, Shapes
from napari.utils.colormaps import label_colormap

from ...core.stacks import LazyStack
from ...review.review import Review
from ..app import layers as factory
from ..app.selection import keeping_selection
from ..app.session import Session
from .tasks import StoredSpots

YELLOW = "#ffe14d"
_KEPT_FRAMES = 3
_ON_SCREEN = 12  # a spot is shown at about a twelfth of the canvas


class LabelCache:
    """Corrected label images of the last few projections looked at."""

    def __init__(self, spots: StoredSpots, review: Review) -> None:
        self.spots = spots
        self.review = review
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self._kept:
            self._kept.move_to_end(index)
        else:
            self._kept[index] = self.review.labels(index, self.spots)
            while len(self._kept) > _KEPT_FRAMES:
                self._kept.popitem(last=False)
        return self._kept[index]

    def forget(self, index: int | None = None) -> None:
        """Read a projection (or all) anew next time."""
        if index is None:
            self._kept.clear()
        else:
            self._kept.pop(index, None)


class StatusFrames(LazyStack):
    """1 undecided, 2 accepted, 3 rejected on the pixels round each spot; uint8.

    The ring lies outside the spot: spots are a few pixels wide and must stay visible.
    """

    def __init__(self, cache: LabelCache) -> None:
        super().__init__(cache.spots.shape, np.uint8)
        self._cache = cache

    def read(self, index: int) -> np.ndarray:
        labels = self._cache[index]
        known = self._cache.review.statuses(index)
        code = np.ones(max(int(labels.max(initial=0)) + 1, known.size), np.uint8)
        code[: known.size] += known
        flat = np.flatnonzero(labels)
        rows, cols = np.unravel_index(flat, labels.shape)
        own = code[labels.ravel()[flat]]
        out = np.zeros(labels.shape, np.uint8)
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                r = np.clip(rows + dr, 0, labels.shape[0] - 1)
                out[r, np.clip(cols + dc, 0, labels.shape[1] - 1)] = own
        out.ravel()[flat] = 0
        return out


class EditableFrames(LazyStack):
    """Label images that napari's brush may write to.

    What is written is shown at once and told to `written`; it becomes part of the review when
    the worker has measured it.
    """

    def __init__(
        self, cache: LabelCache, written: Callable[[int, np.ndarray, np.ndarray], None]
    ) -> None:
        super().__init__(cache.spots.shape, np.int32)
        self._cache = cache
        self._written = written

    def read(self, index: int) -> np.ndarray:
        return self._cache[index]

    def __getitem__(self, key) -> np.ndarray:
        if isinstance(key, tuple) and len(key) == 3 and np.ndim(key[0]) == 1:
            frames, rows, cols = (np.asarray(k) for k in key)
            out = np.zeros(np.broadcast_shapes(frames.shape, rows.shape, cols.shape), np.int32)
            for frame in np.unique(frames):
                here = np.broadcast_to(frames == frame, out.shape)
                r, c = (np.broadcast_to(k, out.shape)[here] for k in (rows, cols))
                out[here] = self._cache[int(frame)][r, c]
            return out
        return super().__getitem__(key)

    def __setitem__(self, key, values) -> None:
        key = key if isinstance(key, tuple) else (key,)
        key = (*key, *(slice(None),) * (3 - len(key)))
        if any(isinstance(k, slice) for k in key):  # a box, as the brush writes
            spans = (np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key))
            key = np.ix_(*spans)
            size = tuple(k.size for k in key)
            values = np.asarray(values, np.int32)
            values = values.reshape(size) if values.size == np.prod(size) else values
        frames, rows, cols = (np.atleast_1d(k) for k in np.broadcast_arrays(*key))
        values = np.broadcast_to(np.asarray(values, np.int32), frames.shape)
        for frame in np.unique(frames).tolist():
            labels = self._cache[frame]
            here = frames == frame
            r, c, new = rows[here], cols[here], values[here]
            differs = labels[r, c] != new
            r, c, new = r[differs], c[differs], new[differs]
            labels[r, c] = new
            if r.size:
                self._written(frame, np.ravel_multi_index((r, c), labels.shape), new)


def add_quietly(session: Session, layer: Layer) -> None:
    """Add a layer without taking the selection from the layer the user works on."""
    layers = session.viewer.layers
    with keeping_selection(layers):
        layers.append(layer)


def status_layer(session: Session, stack: Layer, cache: LabelCache, recipe: dict) -> Layer:
    """Outlines of all spots, coloured by status."""
    return session.add_result(stack, StatusFrames(cache), "review", recipe=recipe)


def edit_layer(session: Session, stack: Layer, frames: EditableFrames, recipe: dict) -> Labels:
    """The layer the brush paints on; every spot has a colour of its own."""
    layer = session.add_result(stack, frames, "edited spots", recipe=recipe)
    layer.colormap = label_colormap(49)
    layer.editable = True
    layer.n_edit_dimensions = 2
    layer.brush_size = 3
    layer.contour = 0
    return layer


def select_box(session: Session, stack: Layer, layer: Shapes | None, row: np.void) -> Shapes:
    """Draw the box round a spot."""
    pad = 3.0
    top, bottom = float(row["row_min"]) - pad, float(row["row_max"]) + pad
    left, right = float(row["col_min"]) - pad, float(row["col_max"]) + pad
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    box = np.array([(float(row["frame"]), r, c) for r, c in corners])
    if layer is None or not session.contains(layer):
        layer = Shapes(
            [box],
            shape_type="polygon",
            name=_name(session, stack, "selected"),
            edge_color=YELLOW,
            face_color="transparent",
            edge_width=0.8,
            **factory.placement(stack, (1, *stack.data.shape[-2:])),
        )
        layer.editable = False
        factory.remember(layer, kind="selected", stack=stack.name)
        add_quietly(session, layer)
    else:
        layer.data = [box]
    return layer


def region_layer(session: Session, stack: Layer) -> Shapes:
    """A layer to draw a region of the detector on; it shows on every projection."""
    placed = factory.placement(stack, (1, *stack.data.shape[-2:]))
    flat = {
        "scale": placed["scale"][1:],
        "translate": placed["translate"][1:],
        "units": placed["units"][1:],
        "axis_labels": placed["axis_labels"][1:],
    }
    for name in ("rotate", "affine"):
        if name in placed:
            flat[name] = placed[name][1:, 1:]
    layer = Shapes(
        ndim=2,
        name=_name(session, stack, "region"),
        edge_color=YELLOW,
        face_color="transparent",
        edge_width=2,
        **flat,
    )
    factory.remember(layer, kind="region", stack=stack.name)
    session.viewer.add_layer(layer)
    layer.mode = "add_polygon"
    return layer


def _name(session: Session, stack: Layer, what: str) -> str:
    taken = [layer.name for layer in session.viewer.layers]
    return factory.free_name(taken, f"{stack.name} [{what}]")


def show_spot(session: Session, stack: Layer, row: np.void) -> None:
    """Move the slider to a spot, and the camera only if the spot is out of sight or tiny."""
    viewer = session.viewer
    session.show_frame(int(row["frame"]), stack)
    camera = viewer.scene.camera
    here = np.array([float(row["frame"]), float(row["row"]), float(row["col"])])
    size = max(row["row_max"] - row["row_min"], row["col_max"] - row["col_min"]) + 1
    world = np.asarray(stack.data_to_world(here[-stack.ndim :]))
    step = np.asarray(stack.data_to_world((here + np.array([0, 1, 1]))[-stack.ndim :])) - world
    axes = [a - (viewer.dims.ndim - stack.ndim) for a in viewer.dims.displayed]
    centre, unit = world[axes], float(np.abs(step[axes]).max())
    canvas = np.asarray(viewer.canvas.size, float)
    half = canvas / (2 * camera.zoom)
    away = np.abs(centre - np.asarray(camera.center)[-2:])
    pixels = float(size) * unit * camera.zoom
    if pixels < 6:
        wanted = canvas.min() / (_ON_SCREEN * max(float(size), 6.0) * unit)
        camera.zoom = max(camera.zoom, min(wanted, 12 / unit))
        camera.center = (0.0, *centre)
    elif np.any(away > 0.9 * half):
        camera.center = (0.0, *centre)


def spot_at(table: np.ndarray, frame: int, row: float, col: float, reach: float = 1.5) -> int:
    """Position in the table of the spot under a point, -1 if there is none."""
    first, last = np.searchsorted(table["frame"], [frame, frame + 1])
    here = table[first:last]
    hit = (
        (here["row_min"] - reach <= row)
        & (row <= here["row_max"] + reach)
        & (here["col_min"] - reach <= col)
        & (col <= here["col_max"] + reach)
    )
    if not hit.any():
        return -1
    distance = np.hypot(here["row"] - row, here["col"] - col)
    return int(first + np.argmin(np.where(hit, distance, np.inf)))
