"""The way of docs/tutorial.md through buttons that a user can see and press."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from clicking import choose, click
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QPushButton, QToolButton

from napari_labdct.gui.app import preferences
from napari_labdct.gui.compare.dock import CompareDock
from napari_labdct.gui.denoise.dock import DenoiseDock
from napari_labdct.gui.review.dock import SpotsDock
from napari_labdct.gui.scan.dock import ScanDock
from napari_labdct.io.spot_tables import read_table
from napari_labdct.review.review import ACCEPTED, REJECTED, REVIEW_DTYPE

pytestmark = pytest.mark.gui


@pytest.fixture
def projections(tmp_path, frames):
    """A folder of nine projections as an instrument leaves them."""
    folder = tmp_path / "iron"
    folder.mkdir()
    for k, frame in enumerate(frames):
        tifffile.imwrite(folder / f"p{k}.tif", frame, photometric="minisblack")
    (folder / "scan.yaml").write_text("omega_deg: {start: 0, step: 5}\npixel_um: 3.36\n")
    return folder


class User:
    """Somebody at the window, who only presses what is there to be pressed."""

    def __init__(self, viewer, wait) -> None:
        self.viewer, self.wait = viewer, wait

    def dock(self, kind):
        """The dock of a kind, once it is the tab in front."""
        window = self.viewer.window._qt_window
        self.wait(lambda: any(d.isVisible() for d in window.findChildren(kind)))
        return next(d for d in window.findChildren(kind) if d.isVisible())

    def go_to(self, here, name: str, kind):
        """Press a step in the line at the top of the dock in front."""
        (step,) = (b for b in here.findChildren(QToolButton) if b.text() == name)
        click(step)
        return self.dock(kind)

    def press(self, dock, text: str) -> None:
        """Press the button that begins with a text."""
        there = [b for b in dock.findChildren(QPushButton) if b.text().startswith(text)]
        visible = [b for b in there if b.isVisible()]
        assert len(visible) == 1, f"{len(visible)} of {len(there)} buttons '{text}' are in sight"
        click(visible[0])


def test_from_open_to_export(shown, wait, projections, tmp_path, monkeypatch):
    preferences.save_last("denoise_dock", {"device": "cpu"})
    asked = iter([tmp_path / "mask.tif", tmp_path / "spots.csv"])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(next(asked)), ""))
    shown.window._qt_window.resize(1280, 720)
    user = User(shown, wait)

    # 1 and 2: open, look at what the scan says
    shown.open(projections, plugin="napari-labdct")
    shown.window.add_plugin_dock_widget("napari-labdct", "Workspace")
    scan = user.dock(ScanDock)
    assert "9 projections" in scan.status.text()

    # 3: denoise one projection, then all, and write the mask
    denoise = user.go_to(scan, "Denoise", DenoiseDock)
    wait(lambda: denoise.bar.button.isEnabled() and "threshold" in denoise.network.card.text())
    choose(denoise.network.scope, "This projection")
    user.press(denoise, "Denoise")
    wait(lambda: denoise.controller.job.state == "done")
    assert [layer.name for layer in shown.layers] == [
        "iron",
        "iron [network result]",
        "iron [network mask]",
    ]
    choose(denoise.network.scope, "Whole stack")
    user.press(denoise, "Denoise")
    wait(lambda: denoise.controller.job.state == "done")
    wait(lambda: shown.layers["iron [network result]"].data.complete)
    user.press(denoise, "Export [network mask]")
    wait(lambda: all((tmp_path / name).exists() for name in ("mask.tif", "mask.tif.json")))
    assert tifffile.imread(tmp_path / "mask.tif").shape == (9, 48, 64)

    # 4: compare with the routine
    compare = user.go_to(denoise, "Compare", CompareDock)
    wait(lambda: compare.looking.view is not None)

    # 5: the shown projection is measured unasked; then all, a decision each way, export
    review = user.go_to(compare, "Review", SpotsDock)
    wait(lambda: review.controller.measured is not None and len(review.controller.table) > 1)
    user.press(review, "Measure the whole stack")
    wait(lambda: len(np.unique(review.controller.table["frame"])) == 9)
    review.table.setFocus()
    review.table.selectRow(0)
    user.press(review, "Accept")
    QTest.keyClick(review.table, Qt.Key.Key_R)
    wait(lambda: (review.controller.table["status"] > 0).sum() == 2)
    bar = review.tabs.tabBar()
    export = next(k for k in range(bar.count()) if bar.tabText(k) == "Export")
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(export).center())
    choose(review.export.which, "All")
    user.press(review, "Table...")
    wait(lambda: all((tmp_path / name).exists() for name in ("spots.csv", "spots.csv.json")))
    table, _ = read_table(tmp_path / "spots.csv", REVIEW_DTYPE)
    assert len(table) == len(review.controller.table)
    assert sorted(table["status"][table["status"] > 0]) == [ACCEPTED, REJECTED]
