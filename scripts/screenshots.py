"""Pictures of the real window while a scan is opened, described, denoised, resumed, tracked.

Needs a screen, or a virtual one of the size wanted::

    xvfb-run -s "-screen 0 1280x720x24" python scripts/screenshots.py SCAN OUTPUT --theme light

The mouse does everything: only the file dialog is answered by this script.  Last-used values
and results go to a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Make the pictures named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path, help="a folder of projections, or one TIFF")
    parser.add_argument("output", type=Path, help="folder for the pictures")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--model", help="a model file instead of the shipped model")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = home
        Tour(given.scan.resolve(), given.output, given.theme, given.model).go()


class Tour:
    """One walk through the docks."""

    def __init__(self, scan: Path, output: Path, theme: str, model: str | None) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        self.scan, self.output, self.theme = scan, output, theme
        self.count = 0
        if model:
            from napari_labdct.gui.app import preferences

            preferences.save_last("denoise_dock", {"model": model})
        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        size = QApplication.primaryScreen().size()
        self.viewer.window.resize(size.width(), size.height() - 2)
        self.rest(1.0)

    def rest(self, seconds: float = 0.4) -> None:
        """Let the window live."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def until(self, condition, seconds: float = 600) -> None:
        """Let the window live until something is true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit("waited too long")
            self.rest(0.05)

    def shoot(self, name: str, settle: float = 1.5) -> None:
        """Keep a picture of the whole screen once it has settled."""
        from qtpy.QtWidgets import QApplication

        self.rest(settle)
        self.count += 1
        path = self.output / f"{self.count:02d}-{name}-{self.theme}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(path))
        print(path)

    def click(self, widget, at=None) -> None:
        """Click in the middle of a widget, scrolled into view first, or at a place in it."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QScrollArea

        parent = widget.parentWidget()
        while parent is not None and not isinstance(parent, QScrollArea):
            parent = parent.parentWidget()
        if parent is not None:
            parent.ensureWidgetVisible(widget)
        self.rest(0.1)
        QTest.mouseClick(
            widget,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
            widget.rect().center() if at is None else at,
        )
        self.rest(0.2)

    def type(self, line, text: str) -> None:
        """Type into a line and press Return."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.click(line)
        line.selectAll()
        QTest.keyClicks(line, text)
        QTest.keyClick(line, Qt.Key.Key_Return)
        self.rest(0.1)

    def choose(self, combo, text: str) -> None:
        """Choose an entry of a combo box with the keyboard."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        combo.setFocus()
        QTest.keyClick(combo, Qt.Key.Key_Home)
        while combo.currentText() != text:
            QTest.keyClick(combo, Qt.Key.Key_Down)
        self.rest(0.2)

    def go(self) -> None:
        """The whole walk."""
        from qtpy.QtWidgets import QFileDialog, QPushButton

        window = self.viewer.window
        scan_dock = window.add_plugin_dock_widget("napari-labdct", "Scan", tabify=True)[1]
        self.shoot("nothing-open")
        one_file = self.scan.is_file()
        QFileDialog.getExistingDirectory = staticmethod(lambda *a, **k: str(self.scan))
        QFileDialog.getOpenFileNames = staticmethod(lambda *a, **k: ([str(self.scan)], ""))
        words = "Open files..." if one_file else "Open folder..."
        buttons = scan_dock.empty.findChildren(QPushButton)
        self.click(next(b for b in buttons if b.text() == words))
        self.until(lambda: scan_dock.session.stack is not None)
        self.shoot("opened")
        self.click(scan_dock.guess_button)
        self.until(lambda: not scan_dock.session.job("beam stop").running)
        if scan_dock.session.scan().omega_deg is None:
            self.type(scan_dock.start, "180")
            self.type(scan_dock.increment, "-3")
        self.shoot("scan-described")

        dock = window.add_plugin_dock_widget("napari-labdct", "Denoise", tabify=True)[1]
        job = dock.controller.job
        self.until(
            lambda: dock.bar.button.isEnabled() and "Reading" not in dock.network.card.text()
        )
        self.until(lambda: not dock.session.job("model").running)
        self.choose(dock.network.scope, "This frame")
        self.shoot("denoise-ready")
        self.click(dock.bar.button)
        self.until(lambda: not job.running)
        self.until(lambda: "spot" in dock.spots.count.text())
        self.shoot("this-frame")
        self.choose(dock.network.scope, "Whole stack")
        self.click(dock.bar.button)
        self.until(lambda: job.seconds_per_step is not None)
        self.shoot("whole-stack")
        self.click(dock.bar.button)
        self.shoot("cancelling", 0.0)
        self.until(lambda: not job.running)
        self.shoot("stopped")
        dock.spots.slider.setFocus()
        left = dock.spots.slider.rect().center()
        left.setX(dock.spots.slider.width() // 6)
        for _ in range(4):
            self.click(dock.spots.slider, left)
        self.shoot("threshold-moved")
        self.click(dock.bar.resume_button)
        self.until(lambda: not job.running)
        self.shoot("resumed-and-done")
        if dock.spots.track_button.isEnabled():
            self.click(dock.spots.track_button)
            self.shoot("tracking", 0.5)
            self.until(lambda: not job.running)
            self.shoot("tracked")
        scene = self.viewer.scene
        scene.camera.zoom *= 4
        self.shoot("looked-at-closely")
        self.viewer.close()
        self.rest(0.5)


if __name__ == "__main__":
    main()
