"""What is written down of a comparison, and what made its two sides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QMessageBox,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ...evaluation.comparison import Segmentation
from ...evaluation.report import holds_report
from ..app.job import Job
from ..widgets.dock import button
from .controller import CompareRun
from .numbers_panel import recipes_html
from .tasks import Sides, read_recipes, write_everything


class Reports(QWidget):
    """Buttons for the report and for the recipes of A and B.

    Parameters
    ----------
    run : CompareRun
    job : Job
        Writes and reads in a worker.
    sides : callable
        Gives A and B as they are now, or None.

    """

    def __init__(self, run: CompareRun, job: Job, sides: Callable[[], Sides | None]) -> None:
        super().__init__()
        self._run, self._job, self._sides = run, job, sides
        self.report_button = button(
            "Report...", "Write tables (CSV), pictures and a one-page report", self._ask
        )
        self.recipes_button = button(
            "What made A and B?", "Their recipes side by side", self.show_recipes
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.report_button)
        row.addWidget(self.recipes_button)
        run.counted.connect(self._show_ready)
        run.job.changed.connect(self._show_ready)
        job.delivered.connect(self._on_delivered)
        self._show_ready()

    def _show_ready(self, *_: object) -> None:
        ready = bool(self._run.result.results) and not self._run.job.running
        self.report_button.setEnabled(ready)

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for tables, pictures and report")
        if folder and (not holds_report(folder) or self._may_replace(folder)):
            self.write(folder, overwrite=True)

    def _may_replace(self, folder: str) -> bool:
        text = f"{folder} holds a report already. Replace it?"
        return QMessageBox.question(self, "Write report", text) == QMessageBox.StandardButton.Yes

    def write(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write CSV tables, pictures and the report of what was compared."""
        sides, result = self._run.sides, self._run.result
        if sides is not None and result.results and not self._job.running:
            self._job.start(
                lambda: write_everything(Path(folder), sides, result, overwrite), "Write report"
            )

    def show_recipes(self) -> None:
        """The recipes of A and B side by side, differences bold."""
        sides = self._sides()
        if sides is not None and not self._job.running:
            self._job.start(lambda: read_recipes(sides), "Read the recipes")

    def _on_delivered(self, thing: object) -> None:
        if isinstance(thing, tuple):
            self._show(*thing[:2])

    def _show(self, a: Segmentation, b: Segmentation) -> None:
        dialog = QDialog(self)
        dialog.setWindowTitle("What made A and B")
        dialog.resize(640, 480)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        text = QTextBrowser()
        text.setHtml(recipes_html(a, b))
        QVBoxLayout(dialog).addWidget(text)
        dialog.show()
