"""The list of background sets: what extractions left, to look at, to keep, to choose from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from ...background import Card
from ...core.errors import LabDCTError
from ..widgets.dock import button, heading, wrapped
from ..widgets.forms import tame
from .controller import BackgroundController

_PICTURE_PX = 56
_SETS_SEEN = 3


class SetsPanel(QWidget):
    """Background sets, with what may be done with the chosen ones.

    Parameters
    ----------
    controller : BackgroundController

    Attributes
    ----------
    chosen : signal(tuple of Path)
        Other sets are chosen.
    said : signal(str)
        A sentence for the status line.
    """

    chosen = Signal(object)
    said = Signal(str)

    def __init__(self, controller: BackgroundController) -> None:
        super().__init__()
        self.controller = controller
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(heading("Background sets"))
        self.sets = QListWidget()
        self.sets.setIconSize(QSize(_PICTURE_PX, _PICTURE_PX))
        self.sets.setUniformItemSizes(True)
        self.sets.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.sets.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.sets.setTextElideMode(Qt.TextElideMode.ElideRight)
        tame(
            self.sets, "Background sets",
            "Backgrounds that were extracted; choose one, or several for a training set",
        )  # fmt: skip
        self.sets.itemSelectionChanged.connect(self._show_buttons)
        self.sets.itemDoubleClicked.connect(self._show_set)
        layout.addWidget(self.sets)
        self.sets_note = wrapped()
        self.sets_note.setAccessibleName("Background sets: result")
        layout.addWidget(self.sets_note)
        row = QHBoxLayout()
        self.show_button = button("Show", "Show the mean background of the set", self._show_set)
        self.save_button = button("Save as...", "Copy the set to a file", self._save_set)
        self.delete_button = button("Delete...", "Delete the set", self._delete_set)
        self.add_button = button("Add...", "Add a set from a file to the list", self._add_set)
        for one in (self.show_button, self.save_button, self.delete_button, self.add_button):
            row.addWidget(one)
        row.addStretch()
        layout.addLayout(row)
        controller.sets.listed.connect(self._on_listed)
        controller.file_job.ended.connect(self._on_file_ended)
        self._show_buttons()

    def _on_listed(self, found: list[tuple[Path, Card | str]]) -> None:
        chosen = self._all_chosen()
        self.sets.clear()
        for path, card in found:
            item = QListWidgetItem(self.sets)
            item.setData(Qt.ItemDataRole.UserRole, str(path))
            if isinstance(card, str):
                item.setText(path.stem)
                item.setToolTip(card)
            else:
                rows, cols = card.shape
                plural = "s" if card.n_frames != 1 else ""
                item.setText(
                    f"{card.name}\n{card.n_frames} projection{plural}, {rows} x {cols}\n"
                    f"noise variance {card.gain:.2g} x level"
                )
                item.setIcon(QIcon(_pixmap(card.thumbnail)))
                item.setToolTip(f"{path}\n{card.created}")
            if path in chosen:
                item.setSelected(True)
        # as high as its entries, for space is short; three at most, then it scrolls
        self.sets.setFixedHeight(min(max(len(found), 1), _SETS_SEEN) * (_PICTURE_PX + 8) + 4)
        self.sets.setVisible(bool(found))
        if not found:
            self.sets_note.setText("None yet. Extract makes one of the open scan.")
        self.sets_note.setVisible(not found)
        self._show_buttons()

    def _all_chosen(self) -> tuple[Path, ...]:
        items = self.sets.selectedItems()
        return tuple(sorted(Path(x.data(Qt.ItemDataRole.UserRole)) for x in items))

    def _chosen(self) -> Path | None:
        chosen = self._all_chosen()
        return chosen[0] if len(chosen) == 1 else None

    def _show_buttons(self) -> None:
        chosen = self._chosen() is not None
        for one in (self.show_button, self.save_button, self.delete_button):
            one.setEnabled(chosen)
        self.chosen.emit(self._all_chosen())

    def _show_set(self, *_: object) -> None:
        path = self._chosen()
        if path is not None:
            self.controller.show_set(path)

    def _save_set(self) -> None:
        path = self._chosen()
        if path is None:
            return
        target, _ = QFileDialog.getSaveFileName(
            self, "Save the background set", path.name, "Background sets (*.h5)"
        )
        if target:
            self.controller.export_set(path, Path(target).with_suffix(".h5"))

    def _add_set(self) -> None:
        source, _ = QFileDialog.getOpenFileName(
            self, "Add a background set", "", "Background sets (*.h5 *.hdf5)"
        )
        if source:
            self.controller.import_set(Path(source))

    def _delete_set(self) -> None:
        path = self._chosen()
        if path is None:
            return
        asked = QMessageBox.question(
            self, "Delete background set", f"Delete {path.name}? This cannot be undone."
        )
        if asked == QMessageBox.StandardButton.Yes:
            try:
                self.controller.delete_set(path)
            except LabDCTError as error:
                self.said.emit(str(error))

    def _on_file_ended(self, state: str) -> None:
        job = self.controller.file_job
        sentence = job.error if state == "failed" else job.note
        if sentence:
            self.said.emit(sentence)


def _pixmap(picture: np.ndarray) -> QPixmap:
    picture = np.ascontiguousarray(picture)
    rows, cols = picture.shape
    image = QImage(picture.data, cols, rows, cols, QImage.Format.Format_Grayscale8).copy()
    return QPixmap.fromImage(image).scaled(
        _PICTURE_PX,
        _PICTURE_PX,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
