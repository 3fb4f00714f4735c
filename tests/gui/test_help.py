"""Help where the user is: the page of each dock, and five steps for a newcomer."""

from __future__ import annotations

import pytest
import tifffile
from clicking import click
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDockWidget, QPushButton
from test_docks import NAMES

from napari_labdct.gui.app import first_run
from napari_labdct.gui.widgets.help_window import HelpWindow, anchor, page_text, pages_folder

pytestmark = pytest.mark.gui


@pytest.fixture
def seen(shown, wait):
    """Open a dock and wait until it can be seen."""

    def open_dock(name: str):
        panel = shown.window.add_plugin_dock_widget("napari-labdct", name)[1]
        wait(panel.isVisible)
        return panel

    return open_dock


def press(panel, text: str) -> None:
    (button,) = (b for b in panel.findChildren(QPushButton) if b.text() == text)
    click(button)


@pytest.mark.parametrize("name", NAMES)
def test_the_question_mark_opens_the_page_of_the_dock(seen, name):
    panel = seen(name)
    click(panel.help)
    (window,) = panel.window().findChildren(HelpWindow)
    assert window.isVisible()
    assert window.page == type(panel).page
    title = page_text(panel.page).splitlines()[0].removeprefix("# ").replace("`", "")
    assert window.text.toPlainText().startswith(title)


def test_pages_lead_to_one_another_and_back(qtbot, monkeypatch):
    window = HelpWindow()
    qtbot.addWidget(window)
    window.show_page("how_to/merged_spots.md")
    window._follow(QUrl("../geometry.md#detector-mask"))
    assert window.page == "geometry.md"
    assert window.text.textCursor().block().text() == "Detector mask"
    window._follow(QUrl("#mirrored-images"))
    assert window.text.textCursor().block().text() == "Mirrored images"
    window.back.click()
    assert window.page == "how_to/merged_spots.md"
    assert not window.back.isEnabled()
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    window._follow(QUrl("https://napari.org"))
    assert [url.host() for url in opened] == ["napari.org"]


def test_what_is_not_there_is_said(qtbot):
    window = HelpWindow()
    qtbot.addWidget(window)
    window.show_page("geometry.md")
    for name in ("no.md", "../README.md", "/etc/hosts"):
        window.show_page(name)
        assert "not among the pages" in window.note.text()
        assert window.page == "geometry.md"


def test_pictures_are_left_out_and_anchors_are_those_of_the_site():
    assert "![" in (pages_folder() / "tutorial.md").read_text(encoding="utf-8")
    assert "![" not in page_text("tutorial.md")
    assert anchor("3. Denoise") == "3-denoise"
    assert anchor("`laue`, the default: physics") == "laue-the-default-physics"


def test_five_steps_lead_through_the_docks_and_are_offered_once(
    shown, seen, wait, frames, tmp_path, monkeypatch
):
    (tmp_path / "demo").mkdir()
    tifffile.imwrite(tmp_path / "demo" / "p.tif", frames, photometric="minisblack")
    monkeypatch.setattr("napari_labdct.io.sample.sample_folder", lambda: tmp_path)
    scan = seen("Scan")
    press(scan, "Show me around")
    wait(lambda: len(shown.layers) > 0)
    window = shown.window._qt_window

    def in_sight():
        frames = window.findChildren(QDockWidget)
        return [f.windowTitle() for f in frames if not f.visibleRegion().isEmpty()]

    (guide,) = window.findChildren(first_run.FirstRun)
    wait(guide.isVisible)
    for k in range(len(first_run.STEPS)):
        assert f"Step {k + 1} of 5" in guide.text.text()
        wait(lambda k=k: first_run.STEPS[k].dock in in_sight())
        click(guide.next)
    wait(lambda: not window.findChildren(first_run.FirstRun))
    assert not first_run.wanted()


def test_who_declines_is_not_asked_again(seen):
    scan = seen("Scan")
    assert scan.empty.offer.isVisible()
    press(scan, "No, thanks")
    assert not scan.empty.offer.isVisible()
    assert not seen("Denoise").empty.offer.isVisible()


def test_skipping_ends_it_for_good(shown, wait):
    guide = first_run.show_around(shown, shown.window._qt_window)
    wait(guide.isVisible)
    click(guide.skip)
    assert not first_run.wanted()
