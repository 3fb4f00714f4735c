"""Choosing a trained model: shipped, own or any file; its card, and the folder of own models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QSignalBlocker, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QMenu,
    QMessageBox,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError
from ...core.jobs import Progress
from ...networks import library, own_models
from ..app.job import LatestJob
from ..app.loaded_model import ModelCard, read_card
from ..app.session import Session
from .combos import narrow_combo
from .dock import button, wrapped

_BROWSE = "Browse..."
_FILES = "Models (*.safetensors)"
_MOST_RECENT = 8


class ModelChoice(QObject):
    """The row with the model, the text under it, and what is known of the chosen one.

    Parameters
    ----------
    session : Session
    chosen : str
        The model to begin with: a name or a file.
    recent : list of str
        Files that were used before, which are not in the user's folder.

    Attributes
    ----------
    row, label : QWidget
        To be put into a form.
    card : ModelCard or None
        What the chosen model is; None while it is read or if it cannot be.
    changed : signal()
        Another model was chosen.
    read : signal(ModelCard)
        The chosen model was read.
    refused : signal(str)
        It cannot be used, in a sentence.
    said : signal(str)
        Something for the status line.
    """

    changed = Signal()
    read = Signal(object)
    refused = Signal(str)
    said = Signal(str)

    def __init__(self, session: Session, chosen: str, recent: list[str], parent: QWidget) -> None:
        super().__init__(parent)
        self.card: ModelCard | None = None
        self.recent = [path for path in recent if Path(path).is_file()]
        self.box = narrow_combo("Model", "The trained network; Browse... opens a model file")
        self.button = button(
            "Models...", "What the model is; import, rename, delete, write as ONNX", self._pop_up
        )
        self.menu = self._menu()
        self.row = QWidget()
        layout = QHBoxLayout(self.row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, 1)
        layout.addWidget(self.button)
        self.label = wrapped()
        self.label.setAccessibleName("About the model")
        self._wanted = ""
        self._read_job = session.job("model")
        self._latest = LatestJob(self._read_job, lambda model: (partial(read_card, model), "Model"))
        self._file_job = session.job("model file")
        self._read_job.delivered.connect(self._on_card)
        self._read_job.ended.connect(self._on_read_ended)
        self._file_job.delivered.connect(self._on_file)
        self._file_job.ended.connect(self._on_file_ended)
        self.box.activated.connect(self._activated)
        self.choose(chosen)

    def _menu(self) -> QMenu:
        menu = QMenu(self.button)
        menu.setToolTipsVisible(True)
        self.actions: dict[str, Any] = {}
        for text, hint, act in (
            ("About this model...", "What it learnt from, and how well", self.show_card),
            ("", "", None),
            ("Import...", "Copy a model file to your own models", self._ask_import),
            ("Rename...", "Give an own model another name", self._ask_rename),
            ("Delete...", "Delete an own model", self._ask_delete),
            ("", "", None),
            ("Write as ONNX...", "For other programs: the network as an ONNX file", self._ask_onnx),
            ("Open the folder", "Your own models, one file each", self._open_folder),
        ):
            if act is None:
                menu.addSeparator()
                continue
            action = menu.addAction(text, act)
            action.setToolTip(hint)
            self.actions[text] = action
        menu.aboutToShow.connect(self._show_what_can_be_done)
        return menu

    def _pop_up(self) -> None:
        self.menu.popup(self.button.mapToGlobal(self.button.rect().bottomLeft()))

    # -------------------------------------------------------------------- the choice

    @property
    def model(self) -> str:
        """Name or file of the chosen model."""
        return str(self.box.currentData() or "")

    @property
    def error(self) -> str:
        """Why the chosen model cannot be used; empty if it can or is not known yet."""
        return self._read_job.error if self._read_job.state == "failed" else ""

    def choose(self, model: str) -> None:
        """Show the models there are now, with one of them chosen, and read its card."""
        found = library.list_models()
        listed = [m.name for m in found]
        model = next((m.name for m in found if str(m.path) == model), model)
        if model not in listed and model not in self.recent:
            if Path(model).is_file():
                self.recent.insert(0, model)
            else:
                model = listed[0] if listed else model
        self.recent = self.recent[:_MOST_RECENT]
        with QSignalBlocker(self.box):
            self.box.clear()
            for name in listed:
                self.box.addItem(name, name)
            for path in self.recent:
                self.box.addItem(Path(path).name, path)
                self.box.setItemData(self.box.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
            self.box.addItem(_BROWSE, None)
            self.box.setCurrentIndex(max(0, self.box.findData(model)))
        if self.model:
            self._read()

    def _activated(self, index: int) -> None:
        model = self.box.itemData(index)
        if model is None:
            model, _ = QFileDialog.getOpenFileName(self.row, "Open a model", "", _FILES)
        self.choose(model or self._wanted)
        self.changed.emit()

    def _read(self) -> None:
        self._wanted, self.card = self.model, None
        self.label.setText("<small>Reading the model...</small>")
        self._latest.ask(self._wanted)

    def _on_card(self, card: ModelCard) -> None:
        if card.model != self._wanted:
            return
        self.card = card
        self.label.setText(f"<small>{_short(card.info)}</small>")
        text = library.model_card(card.info).replace("\n\n", "\n").replace("**", "")
        self.label.setToolTip(text.removeprefix("### ").strip())
        self.read.emit(card)

    def _on_read_ended(self, state: str) -> None:
        if self._read_job.running:
            return  # another model was chosen while this one was read
        if state == "failed":
            self.label.setText(self._read_job.error)
            self.refused.emit(self._read_job.error)
        elif self.card is None:
            self._read()  # asked for again just before it ended

    # ------------------------------------------------------------- the folder of models

    def _show_what_can_be_done(self) -> None:
        own = any(m.name == self.model and not m.shipped for m in library.list_models())
        for text in ("Rename...", "Delete..."):
            self.actions[text].setEnabled(own)
        for text in ("About this model...", "Write as ONNX..."):
            self.actions[text].setEnabled(self.card is not None)

    def show_card(self) -> QDialog | None:
        """What the chosen model is, in a window."""
        if self.card is None:
            return None
        dialog = QDialog(self.row)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(f"Model {self.card.info['name']}")
        text = QTextBrowser()
        text.setMarkdown(library.model_card(self.card.info))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(dialog.close)
        layout = QVBoxLayout(dialog)
        layout.addWidget(text)
        layout.addWidget(buttons)
        dialog.resize(460, 380)
        dialog.show()
        return dialog

    def _ask_import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.row, "Import a model", "", _FILES)
        if not path:
            return
        name, given = QInputDialog.getText(
            self.row, "Import a model", "What to call it:", text=Path(path).stem
        )
        if given:
            self._file_job.start(lambda: _import(path, name), "Import a model")

    def _ask_rename(self) -> None:
        name, given = QInputDialog.getText(
            self.row, "Rename a model", f"New name of {self.model}:", text=self.model
        )
        if given and name != self.model:
            self._do(lambda: own_models.rename_model(self.model, name).name)

    def _ask_delete(self) -> None:
        answer = QMessageBox.question(
            self.row, "Delete a model", f"Delete {self.model}? This cannot be undone."
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._do(lambda: own_models.delete_model(self.model) or "")

    def _do(self, change: Callable[[], str]) -> None:
        try:
            model = change()
        except LabDCTError as error:
            self.said.emit(str(error))
            return
        self.choose(model)
        self.changed.emit()

    def _ask_onnx(self) -> None:
        model = self.model
        path, _ = QFileDialog.getSaveFileName(
            self.row, "Write as ONNX", f"{Path(model).stem}.onnx", "ONNX (*.onnx)"
        )
        if path:
            target = Path(path).with_suffix(".onnx")
            self._file_job.start(lambda: _write_onnx(model, target), "Write ONNX")

    def _open_folder(self) -> None:
        folder = library.user_models_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.said.emit(f"{folder} cannot be made ({error.strerror or error}).")
            return
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _on_file(self, added: library.ListedModel) -> None:
        self.choose(added.name)
        self.changed.emit()

    def _on_file_ended(self, state: str) -> None:
        self.said.emit(self._file_job.error if state == "failed" else self._file_job.note)


def _import(path: str, name: str) -> Iterator[Progress | library.ListedModel]:
    yield Progress(0, 1, "Looking at the model")
    added = own_models.import_model(path, name)
    yield added
    yield Progress(1, 1, f"Added {added.name} to your models.")


def _write_onnx(model: str, target: Path) -> Iterator[Progress]:
    from ...networks.model import Model

    yield Progress(0, 1, "Writing ONNX")
    Model.load(model, "cpu").export_onnx(target)
    yield Progress(1, 1, f"Wrote {target}")


def _short(info: dict[str, Any]) -> str:
    """Two lines on a model: what it is and how well it did."""
    parts = [f"{info['network']}, {info['parameters'] / 1e6:.2g} million weights"]
    validation = info.get("training", {}).get("validation", {})
    if "f1" in validation:
        parts.append(f"F1 {validation['f1']:.2f} on its validation crops")
    parts.append(f"median of {info['median_window']} projections")
    parts.append(f"threshold {info['threshold']}")
    return "; ".join(parts)
