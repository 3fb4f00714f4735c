"""How the window shows the active stack: upright, with its scale, projection and angle."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import numpy as np
from napari.layers import Layer

from ...scan.scan import Scan
from . import layers as factory
from .units import align_units

# TIFF tag 274: where row 0 and column 0 stand on the screen, and whether they are swapped.
_ORIENTATIONS: dict[int, tuple[str, str, bool]] = {
    1: ("down", "right", False),
    2: ("down", "left", False),
    3: ("up", "left", False),
    4: ("up", "right", False),
    5: ("down", "right", True),
    6: ("down", "left", True),
    7: ("up", "left", True),
    8: ("up", "right", True),
}


class Shown(Protocol):
    """What a session tells of its viewer."""

    viewer: Any
    stack: Layer | None

    def stacks(self) -> list[Layer]: ...

    def results(self, stack: Layer) -> list[Layer]: ...

    def shown_frame(self, layer: Layer) -> int: ...

    def show_frame(self, index: int, layer: Layer) -> None: ...


class StackView:
    """Keeps camera, scale bar, caption and units of one viewer in step with the active stack.

    Parameters
    ----------
    session : Session
        Held weakly.
    """

    def __init__(self, session: Shown) -> None:
        self._session = weakref.ref(session)
        self._turned: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._hidden: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._measured = False
        self._caption = ""

    def follow(self) -> None:
        """Another stack is the active one, or something was learnt of it."""
        self._turn()
        self._show_again()
        self._bring_into_range()
        self._show_scale_bar()
        self.show_caption()

    def align(self, _event: object = None) -> None:
        """Give all layers one kind of unit."""
        session = self._session()
        if session is not None and session.viewer is not None:
            align_units(session.viewer.layers)

    def show_caption(self, _event: object = None) -> None:
        """Say over the image which projection it is, and its angle: the slider tells neither.

        A text that the user has put there stays.
        """
        session = self._session()
        viewer = None if session is None else session.viewer
        if viewer is None:
            return
        stack, overlay = session.stack, viewer.canvas.overlays.text
        if overlay.text != self._caption:
            return
        scan = None if stack is None else _scan_of(stack)
        caption = "" if stack is None else caption_of(stack, scan, session.shown_frame(stack))
        if caption and not self._caption:
            overlay.position, overlay.visible = "bottom_left", True
            overlay.box = True  # read over the image, too, in both themes
        if caption != self._caption:
            self._caption = overlay.text = caption

    def show_alone(self, stack: Layer) -> None:
        """Hide the other scans and their results, until they are the ones to work on again."""
        session = self._session()
        for other in session.stacks():
            if other is not stack and factory.kind_of(other):
                for layer in (other, *session.results(other)):
                    if layer.visible:
                        layer.visible = False
                        self._hidden.add(layer)

    def _show_again(self) -> None:
        session = self._session()
        stack = session.stack
        for layer in () if stack is None else (stack, *session.results(stack)):
            if layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True

    def _bring_into_range(self) -> None:
        """Move the slider to a projection of the stack: beyond, nothing of it is drawn."""
        session = self._session()
        viewer, stack = session.viewer, session.stack
        if viewer is None or stack is None or stack.ndim < 3:
            return
        at = stack.world_to_data(viewer.dims.point[-stack.ndim :])[0]
        if not -0.5 <= at < stack.data.shape[0] - 0.5:
            session.show_frame(session.shown_frame(stack), stack)

    def _show_scale_bar(self) -> None:
        """Show napari's scale bar where it tells the truth; between, it is the user's."""
        session = self._session()
        viewer, stack = session.viewer, session.stack
        known = None if stack is None else _scan_of(stack)
        measured = known is not None and known.description.pixel_um is not None
        if viewer is not None and measured != self._measured:
            self._measured = measured
            viewer.canvas.overlays.scale_bar.visible = measured

    def _turn(self) -> None:
        """Show a scan upright as its TIFF tag says: the camera turns, the data does not."""
        session = self._session()
        viewer, layer = session.viewer, session.stack
        known = None if layer is None else _scan_of(layer)
        if viewer is None or known is None or layer in self._turned:
            return
        self._turned.add(layer)
        vertical, horizontal, swapped = _ORIENTATIONS.get(known.orientation, _ORIENTATIONS[1])
        viewer.scene.camera.orientation2d = (vertical, horizontal)
        order = viewer.dims.order
        if swapped and order[-2] < order[-1]:
            viewer.dims.order = (*order[:-2], order[-1], order[-2])


def _scan_of(layer: Layer) -> Scan | None:
    return factory.info_of(layer).get("scan")


def caption_of(stack: Layer, scan: Scan | None, frame: int) -> str:
    """Projection and angle in words, for example "projection 11 of 23, 165.0 deg".

    Projections are counted from 0, as on the slider and in every table; empty for a single one.

    Parameters
    ----------
    stack : Layer
    scan : Scan, optional
        What is known of it.
    frame : int
    """
    count = stack.data.shape[0] if stack.ndim > 2 else 1
    if count < 2:
        return ""
    text = f"projection {frame} of {count}"
    omega = None if scan is None else scan.omega_deg
    if omega is None or frame >= len(omega):
        return text
    coarse = np.allclose(omega, np.round(omega, 1), atol=1e-6)
    return f"{text}, {omega[frame]:.{1 if coarse else 2}f} deg"
