"""Longest time the window does not answer, outside painting, while a stack is denoised.

Every event that Qt hands out is timed; what it spends painting (a matter of the graphics card)
is taken off.  Needs a screen, or a virtual one::

    xvfb-run -s "-screen 0 1280x720x24" python benchmarks/gui_latency.py [SCAN] [--frames N]

Without SCAN a stack of noise is made, 2032 x 2032 by default.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import numpy as np
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

_PAINTING = {
    QEvent.Type.Paint,
    QEvent.Type.UpdateRequest,
    QEvent.Type.UpdateLater,
    QEvent.Type.Expose,
}


class TimedApplication(QApplication):
    """Measures how long each event keeps the main thread, painting apart."""

    def __init__(self) -> None:
        super().__init__(["gui_latency"])
        self.recording = False
        self.longest: list[tuple[float, str]] = []
        self.painting = 0.0
        self._depth = 0
        self._painted = 0.0

    def notify(self, receiver, event) -> bool:
        kind = event.type()
        name = type(receiver).__name__ + (
            f" '{receiver.objectName()}'" if receiver.objectName() else ""
        )
        began, self._depth = time.perf_counter(), self._depth + 1
        painted_before = self._painted
        try:
            return super().notify(receiver, event)
        finally:
            took, self._depth = time.perf_counter() - began, self._depth - 1
            inside = self._painted - painted_before
            if kind in _PAINTING:
                self._painted += took - inside
            if self._depth == 0 and self.recording:
                if kind in _PAINTING:
                    self.painting = max(self.painting, took)
                else:
                    self.longest.append((took - inside, f"{kind} of {name}"))


def main() -> None:
    """Denoise a stack in the dock and print the longest gaps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", nargs="?", help="projections; noise if not given")
    parser.add_argument("--size", type=int, default=2032, help="rows and columns of the noise")
    parser.add_argument("--frames", type=int, default=8, help="projections denoised")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = home
        measure(given)


def measure(given: argparse.Namespace) -> None:
    """Run the dock under a watch."""
    app = TimedApplication()
    import napari

    from napari_labdct.gui.app.layers import layer_data, scan_layer
    from napari_labdct.scan.scan import Scan

    if given.scan:
        made = scan_layer(given.scan)
    else:
        rng = np.random.default_rng(0)
        shape = (given.frames, given.size, given.size)
        made = layer_data(Scan(rng.poisson(400, shape).astype(np.uint16), name="noise"))
    viewer = napari.Viewer(show=True)
    viewer.add_layer(napari.layers.Layer.create(*made))
    dock = viewer.window.add_plugin_dock_widget("napari-labdct", "Denoise")[1]

    def rest(condition, most: float = 1200.0) -> None:
        end = time.monotonic() + most
        while not condition() and time.monotonic() < end:
            app.processEvents()
            time.sleep(0.001)

    def idle(seconds: float) -> None:
        end = time.monotonic() + seconds
        rest(lambda: time.monotonic() > end)

    busy = [dock.session.job(name) for name in ("model", "warm-up")]
    rest(lambda: dock.bar.button.isEnabled() and not any(job.running for job in busy))
    idle(2.0)
    dock.network.scope.setCurrentText("Range")
    dock.network.first.setValue(0)
    dock.network.last.setValue(given.frames - 1)
    job = dock.controller.job
    dock.session.show_frame(min(2, given.frames - 1))
    idle(1.0)

    app.recording = True
    dock.bar.button.click()
    rest(lambda: not job.running)
    idle(1.0)
    _report(f"while {job.progress.done} frames were denoised ({job.state})", app)
    app.longest.clear()
    app.painting = 0.0
    for value in range(100, 180, 4):
        dock.spots.slider.setValue(value)
        idle(0.1)
    rest(lambda: not dock.session.job("spots").running)
    _report("while the threshold was moved", app)
    viewer.close()
    idle(0.5)


def _report(when: str, app: TimedApplication) -> None:
    worst = sorted(app.longest, reverse=True)[:5]
    print(f"\n{when}: {len(app.longest)} events, longest painting {1e3 * app.painting:.0f} ms")
    for seconds, what in worst:
        print(f"  {1e3 * seconds:6.1f} ms  {what}")


if __name__ == "__main__":
    main()
