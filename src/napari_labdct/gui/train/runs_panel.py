"""Earlier runs: trainings that ended, stopped or go on, wherever they were started."""

from __future__ import annotations

import time
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QVBoxLayout,
)

from ..widgets.dock import button
from ..widgets.forms import tame
from ..widgets.section import Section
from .controller import TrainController
from .runs import Listed


class RunsPanel(Section):
    """The list of runs, with what may be done with the chosen one.

    Parameters
    ----------
    controller : TrainController

    Attributes
    ----------
    shown : signal
        A run of the list is shown now.
    said : signal(str)
        A sentence for the status line.
    """

    shown = Signal()
    said = Signal(str)

    def __init__(self, controller: TrainController) -> None:
        super().__init__("Earlier runs", "Trainings that ended, stopped or go on")
        self.controller = controller
        self._runs: list[Listed] = []
        column = QVBoxLayout(self.inside)
        column.setContentsMargins(12, 0, 0, 0)
        self.runs = QListWidget()
        self.runs.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.runs.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.runs.setFixedHeight(132)
        tame(self.runs, "Earlier runs", "A double click shows the run")
        self.runs.itemSelectionChanged.connect(self._show_run_buttons)
        self.runs.itemDoubleClicked.connect(self._show_run)
        column.addWidget(self.runs)
        self.show_button = button("Show", "Show curve and pictures of the run", self._show_run)
        self.add_button = button(
            "Add folder...", "List a training that was started by labdct train", self._add_folder
        )
        self.delete_button = button("Delete...", "Delete the files of the run", self._delete_run)
        row = QHBoxLayout()
        for one in (self.show_button, self.add_button, self.delete_button):
            row.addWidget(one)
        row.addStretch()
        column.addLayout(row)
        controller.listed.connect(self._on_listed)

    @property
    def listed(self) -> list[Listed]:
        """The runs in the list, the newest first."""
        return self._runs

    def _on_listed(self, found: list[Listed]) -> None:
        chosen = self._chosen()
        self._runs = found
        self.runs.clear()
        for one in found:
            day = time.strftime("%d %b %H:%M", time.localtime(one.touched))
            item = QListWidgetItem(f"{one.run.title}, {day}\n{one.sentence}", self.runs)
            item.setToolTip(f"{one.run.folder}\n{one.run.error}".strip())
            item.setSelected(chosen is not None and one.run.folder == chosen.run.folder)
        unfinished = sum(one.state in ("stopped", "failed") for one in found)
        text = f"{len(found)}" if found else "none yet"
        Section.say(self, text + (f", {unfinished} can go on" if unfinished else ""))
        self._show_run_buttons()

    def _chosen(self) -> Listed | None:
        rows = [index.row() for index in self.runs.selectedIndexes()]
        return self._runs[rows[0]] if rows and rows[0] < len(self._runs) else None

    def _show_run_buttons(self) -> None:
        for one in (self.show_button, self.delete_button):
            one.setEnabled(self._chosen() is not None)

    def _show_run(self, *_: object) -> None:
        chosen = self._chosen()
        if chosen is None:
            return
        if self.controller.job.running:
            self.said.emit("Stop the training that is shown before you look at another one.")
            return
        self.controller.show(chosen)
        self.shown.emit()

    def _add_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of a training")
        if path:
            self.add_folder(Path(path))

    def add_folder(self, folder: Path) -> None:
        """List a training that was started by ``labdct train``."""
        if (folder / "recipe.json").exists():
            self.controller.add_folder(folder)
        else:
            self.said.emit(f"{folder} holds no training; choose a folder that labdct train made.")

    def _delete_run(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            return
        run = chosen.run
        asked = QMessageBox.question(
            self, "Delete a training", f"Delete {run.title} with its models? There is no undo."
        )
        if asked == QMessageBox.StandardButton.Yes:
            self.controller.delete(run)
