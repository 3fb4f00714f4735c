"""Spots of known grains over the projections: points that follow the slider.

A scan has some 200,000 spots.  The layer holds those of the shown projection only, so that a
step of the slider costs milliseconds; the whole table stays with `ShownSpots`.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Points

from ..._version import __version__
from . import layers as factory
from .selection import keeping_selection

if TYPE_CHECKING:
    from .session import Session

KIND = "spot positions"

# Columns that say where a spot is; all others become features.
_PLACE = ("frame", "omega_deg", "row", "col", "h", "k", "l", "cells", "cells_outside_stop")


def features_of(spots: np.ndarray) -> dict[str, Any]:
    """What napari shows of a spot: grain, hkl, energy and whatever else the table knows.

    Parameters
    ----------
    spots : structured array (n,)
        With ``h``, ``k``, ``l``, as `Prediction.frame` and `Projection.spots` give it.
    """
    hkl = [f"{h} {k} {l}" for h, k, l in zip(spots["h"], spots["k"], spots["l"])]  # noqa: E741
    found: dict[str, Any] = {"grain": spots["grain"], "hkl": np.array(hkl, dtype=object)}
    for name in spots.dtype.names:
        if name not in _PLACE and name != "grain":
            found[name] = spots[name]
    return found


def ring_px(cols: int) -> float:
    """Diameter of the rings on a detector of so many columns: round a spot, not on it."""
    return max(8.0, cols / 75)


def grain_colours(grain: np.ndarray, ids: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Red, green, blue, alpha (n, 4) of the grain of each spot.

    Parameters
    ----------
    grain : ndarray of int (n,)
    ids : ndarray of int (grains,)
        What the grains are called.
    colours : ndarray (grains, 3)
    """
    order = np.argsort(ids)
    at = order[np.minimum(np.searchsorted(np.asarray(ids)[order], grain), len(ids) - 1)]
    return np.column_stack([np.asarray(colours)[at], np.ones(len(at))])


class ShownSpots:
    """One Points layer over one stack.

    Parameters
    ----------
    session : Session
    stack : Layer
        The projections ``(n, rows, cols)``, or a single one.
    spots : structured array (n,)
        Sorted by ``frame``.
    colours : ndarray (grains, 3)
        Red, green, blue of each grain.
    grain_ids : ndarray (grains,)
        The grains' names in the table.
    what : str
        The words in brackets in the layer's name.
    recipe : dict
        What made the spots.
    """

    def __init__(
        self,
        session: Session,
        stack: Layer,
        spots: np.ndarray,
        colours: np.ndarray,
        grain_ids: np.ndarray,
        what: str,
        recipe: dict[str, Any] | None = None,
    ) -> None:
        self._session = weakref.ref(session)
        self._stack = weakref.ref(stack)
        self._spots = spots
        self._colours, self._grain_ids = colours, grain_ids
        self._starts = np.searchsorted(spots["frame"], np.arange(_frames(stack) + 1))
        self._shown = session.shown_frame(stack)
        self._size = ring_px(stack.data.shape[-1])
        self._layer = weakref.ref(self._make(session, stack, what, recipe or {}))

    @property
    def layer(self) -> Points | None:
        """The layer, or None once the user has removed it."""
        session, layer = self._session(), self._layer()
        return layer if session is not None and session.contains(layer) else None

    @property
    def stack(self) -> Layer | None:
        """The projections the spots belong to."""
        return self._stack()

    def rows(self, frame: int) -> np.ndarray:
        """Spots of one projection."""
        if not 0 <= frame < len(self._starts) - 1:
            return self._spots[:0]
        return self._spots[self._starts[frame] : self._starts[frame + 1]]

    def follow(self) -> None:
        """Show the spots of the projection that is on the screen."""
        session, layer, stack = self._session(), self.layer, self._stack()
        if session is None or layer is None or stack is None:
            return
        frame = session.shown_frame(stack)
        if frame != self._shown:
            self._shown = frame
            spots = self.rows(frame)
            layer.selected_data = set()
            layer.data = _places(spots)
            if len(spots):
                layer.features = features_of(spots)
                layer.border_color = self._colour(spots)
                layer.size = self._size

    def _colour(self, spots: np.ndarray) -> np.ndarray:
        return grain_colours(spots["grain"], self._grain_ids, self._colours)

    def _make(self, session: Session, stack: Layer, what: str, recipe: dict[str, Any]) -> Points:
        spots = self.rows(self._shown)
        placed = factory.placement(stack, (_frames(stack), *stack.data.shape[-2:]))
        viewer = session.viewer
        taken = [] if viewer is None else [layer.name for layer in viewer.layers]
        entries: dict[str, Any] = {
            "kind": KIND,
            "recipe": recipe,
            "stack": stack.name,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "version": __version__,
        }
        layer = Points(
            _places(spots),
            ndim=3,
            name=factory.free_name(taken, f"{stack.name} [{what}]"),
            features=features_of(spots) if len(spots) else None,
            face_color="transparent",
            border_color=self._colour(spots) if len(spots) else "white",
            border_width=0.08,
            size=self._size,
            metadata={factory.KEY: entries},
            **placed,
        )
        if viewer is not None:
            with keeping_selection(viewer.layers):
                viewer.layers.append(layer)
        return layer


def _frames(stack: Layer) -> int:
    return int(stack.data.shape[0]) if stack.ndim == 3 else 1


def _places(spots: np.ndarray) -> np.ndarray:
    return np.column_stack([spots["frame"], spots["row"], spots["col"]]).astype(float)
