"""Choosing a model in a dock, and the folder of the user's own models."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtWidgets import QMessageBox, QTextBrowser

from napari_labdct.gui.app import preferences
from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.widgets import model_choice

pytestmark = pytest.mark.gui


@pytest.fixture
def menu(panel, wait):
    """Click in the Models menu and wait until what it does is done."""

    def click(text: str) -> None:
        choice = panel.network.choice
        choice.menu.aboutToShow.emit()
        assert choice.actions[text].isEnabled(), text
        choice.actions[text].trigger()
        for name in ("model file", "model"):
            wait(lambda name=name: not session_of(panel.session.viewer).job(name).running)

    return click


def test_an_imported_model_is_chosen_renamed_and_deleted(panel, menu, model_path, monkeypatch):
    answers = iter(["mine", "iron"])
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *a, **k: (str(model_path), "")
    )
    monkeypatch.setattr(
        "qtpy.QtWidgets.QInputDialog.getText", lambda *a, **k: (next(answers), True)
    )
    monkeypatch.setattr(
        "qtpy.QtWidgets.QMessageBox.question", lambda *a, **k: QMessageBox.StandardButton.Yes
    )
    menu("Import...")
    assert panel.settings().model == panel.network.model.currentText() == "mine"
    assert panel.status.text() == "Added mine to your models."
    menu("Rename...")
    assert panel.settings().model == "iron"
    assert "threshold 120" in panel.network.card.text()
    assert preferences.load_last("denoise_dock")["model"] == "iron"
    menu("Delete...")
    assert panel.settings().model == "compact"
    panel.network.choice.menu.aboutToShow.emit()
    assert not panel.network.choice.actions["Rename..."].isEnabled()
    assert not panel.network.choice.actions["Delete..."].isEnabled()


def test_a_name_that_is_taken_is_said(panel, menu, model_path, monkeypatch):
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *a, **k: (str(model_path), "")
    )
    monkeypatch.setattr("qtpy.QtWidgets.QInputDialog.getText", lambda *a, **k: ("compact", True))
    menu("Import...")
    assert "'compact' comes with the package" in panel.status.text()
    assert panel.network.model.currentText() == "tiny.safetensors"


def test_the_model_is_written_as_onnx(panel, menu, tmp_path, monkeypatch):
    import onnx

    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getSaveFileName",
        lambda *a, **k: (str(tmp_path / "tiny"), ""),
    )
    menu("Write as ONNX...")
    assert panel.status.text() == f"Wrote {tmp_path / 'tiny.onnx'}"
    onnx.checker.check_model(onnx.load(tmp_path / "tiny.onnx"))


def test_the_card_tells_what_the_model_is(panel):
    dialog = panel.network.choice.show_card()
    text = dialog.findChild(QTextBrowser).toPlainText()
    assert "120 of 255" in text
    assert "parameters" in panel.network.card.toolTip()
    dialog.close()


def test_another_dock_chooses_the_model_by_its_file(panel, model_path, wait):
    from napari_labdct.networks import own_models

    added = own_models.import_model(model_path, "own")
    panel.network.use_model(str(added.path))
    assert panel.settings().model == "own"
    wait(lambda: "threshold 120" in panel.network.card.text())


def test_a_model_chosen_while_a_bad_one_is_read_is_read_next(
    panel, model_path, tmp_path, wait, monkeypatch
):
    real, go = model_choice.read_card, threading.Event()
    bad = tmp_path / "bad.safetensors"
    bad.write_text("no model")

    def slow(model):
        if model == str(bad):
            go.wait(30)
        yield from real(model)

    monkeypatch.setattr(model_choice, "read_card", slow)
    panel.network.choice.choose(str(bad))
    assert panel.network.choice.card is None  # not that of the model before
    panel.network.choice.choose(str(model_path))
    go.set()
    wait(lambda: panel.network.choice.card is not None)
    assert "threshold 120" in panel.network.card.text()
