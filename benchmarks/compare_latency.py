"""Compare dock: from a slider's move to the repainted canvas, for each routine parameter.

    python benchmarks/compare_latency.py [--sizes 1024 2032] [--repeat 5]

A real window (a virtual screen will do) shows a made-up scan side by side.  For each parameter the
slider is moved and the time taken until the part on the screen, and then the whole projection, has
been computed and painted.  CPU seconds count all cores, so they hold on a busy computer too.
"""

from __future__ import annotations

import argparse
import os
import time

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QApplication
from routine_speed import make_stack

from napari_labdct.gui.app.layers import layer_data
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.log_routine import RoutineSettings

START = RoutineSettings(background=40, sigma_px=1.5, min_size_px=4)
MOVES = {
    "background": (50.0, 60.0, 45.0),
    "sigma_px": (2.0, 6.0, 3.0),
    "percentage": (20.0, 30.0, 15.0),
    "min_size_px": (5, 8, 6),
    "median_window": (9, 11, 7),
}


class Bench:
    def __init__(self, size: int) -> None:
        self.viewer = napari.Viewer()
        self.app = QApplication.instance()
        self.viewer.window.resize(1280, 720)
        scan = Scan(make_stack(13, size), omega_deg=angles(0, 3, 13), name="scan")
        self.stack = self.viewer.add_layer(Layer.create(*layer_data(scan)))
        _, self.dock = self.viewer.window.add_plugin_dock_widget("napari-labdct", "Compare")
        self.seen: list[tuple[float, bool]] = []
        self.dock.looking.job.delivered.connect(self._note)
        self.dock.routine.set_settings(START)
        self.dock.session.show_frame(6)
        self.dock.set_view("side by side")
        self.settle()

    def _note(self, thing: object) -> None:
        if hasattr(thing, "images"):
            self.seen.append((time.perf_counter(), thing.match is not None))

    def settle(self) -> None:
        dock = self.dock
        until = time.perf_counter() + 120
        quiet = 0
        while quiet < 5 and time.perf_counter() < until:
            self.app.processEvents()
            time.sleep(0.002)
            busy = dock.looking.busy
            quiet = 0 if busy else quiet + 1

    def move(self, name: str, value: float) -> tuple[float, float, float, float]:
        """Seconds to the first and to the whole picture, painted; CPU seconds; longest gap."""
        self.seen.clear()
        settings = self.dock.routine.settings().replace(**{name: value})
        begin, cpu, last, gap = time.perf_counter(), time.process_time(), time.perf_counter(), 0.0
        self.dock.routine.set_settings(settings)
        whole_cpu = None
        while whole_cpu is None and time.perf_counter() - begin < 120:
            self.app.processEvents()  # paints too
            now = time.perf_counter()
            gap, last = max(gap, now - last), now
            if any(whole for _, whole in self.seen):
                whole_cpu = time.process_time() - cpu
            time.sleep(0.001)
        painted = time.perf_counter() - begin
        first = self.seen[0][0] - begin
        self.settle()
        return first, painted, whole_cpu or float("nan"), gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2032])
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores; seconds, median of {given.repeat} moves")
    print("size  zoom  parameter       first   whole   CPU     longest event-loop gap")
    for size in given.sizes:
        bench = Bench(size)
        for zoom in (1, 4):
            if zoom > 1:
                bench.viewer.scene.camera.zoom *= zoom
                bench.settle()
            for name, values in MOVES.items():
                bench.move(name, values[1])
                runs = [bench.move(name, values[k % len(values)]) for k in range(given.repeat)]
                first, whole, cpu, gap = np.median(runs, axis=0)
                print(
                    f"{size:4d}  x{zoom}    {name:14s} {first:6.3f}  {whole:6.3f}  {cpu:6.3f}"
                    f"  {gap:6.3f}",
                    flush=True,
                )
                bench.dock.routine.set_settings(START)
                bench.settle()
        bench.dock.set_view("leave")
        bench.viewer.close()


if __name__ == "__main__":
    main()
