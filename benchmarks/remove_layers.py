"""napari ends with a segmentation fault when layers are removed from the bottom; where and why.

Run on a screen (or under Xvfb)::

    python benchmarks/remove_layers.py            # napari alone: the process ends
    python benchmarks/remove_layers.py --current  # the canvas's context is made current first

Measured with napari 0.9.2, vispy 0.17.0, PyQt6 and Mesa's llvmpipe and softpipe: alone it ends in
``glDrawArrays`` in the first round, three times of three, with layers in equal units; with the
context of the canvas current while napari deletes buffers and textures, four rounds of four pass.
"""

from __future__ import annotations

import sys

import napari
import numpy as np
from qtpy.QtWidgets import QApplication


def main(rounds: int = 4) -> None:
    """Add two images and two masks, then remove them from the bottom, drawing in between."""
    viewer = napari.Viewer()
    if "--current" in sys.argv:
        from napari_labdct.gui.app.opengl import make_canvas_current

        viewer.layers.events.removing.connect(lambda _event: make_canvas_current(viewer))
    rng = np.random.default_rng(0)
    for k in range(rounds):
        for _ in range(2):
            viewer.add_image(rng.random((48, 64)))
        for _ in range(2):
            viewer.add_labels((rng.random((48, 64)) > 0.9).astype(np.uint8))
        draw()
        while viewer.layers:
            viewer.layers.pop(0)
            draw()
        print(f"round {k + 1} of {rounds} passed", flush=True)


def draw() -> None:
    """Let Qt draw what waits."""
    for _ in range(8):
        QApplication.processEvents()


if __name__ == "__main__":
    main()
