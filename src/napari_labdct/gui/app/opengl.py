"""The right OpenGL context while napari takes a layer away.

When a layer is removed, napari 0.9.2 lets vispy delete its buffers and textures at once
(``VispyCanvas._clean_and_update_scenegraph``: ``context.finish()``), outside of any drawing.  By
then Qt has made the context of the whole window current, not that of the canvas.  Buffers that the
canvas still has bound are deleted behind its back, and a later ``glDrawArrays`` reads memory that
is gone: the process ends.  Layers drawn first and removed first do it (two images and two masks,
removed from the bottom), whatever their units; `benchmarks/remove_layers.py` shows it with napari
alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def make_canvas_current(viewer: Any) -> None:
    """Make the OpenGL context of a viewer's canvas the current one, if it has been drawn."""
    qt_viewer = getattr(getattr(viewer, "window", None), "_qt_viewer", None)
    canvas = getattr(qt_viewer, "canvas", None)
    with suppress(AttributeError, RuntimeError):  # another napari, or a window that is gone
        if canvas.native.isValid():
            canvas._scene_canvas.set_current()
