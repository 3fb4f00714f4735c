"""What comes of a training: its curve, pictures of its validation, and the best model."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from ..app.docks import has_dock
from ..app.preferences import PLUGIN
from ..app.session import Session
from ..widgets.dock import button, wrapped
from ..widgets.forms import tame
from .controller import TrainController
from .plot import TrainPlot, Triptych, loss_lines, score_lines
from .runs import plain_name, score_of


class ResultsPanel(QWidget):
    """The run that is shown.

    Parameters
    ----------
    session : Session
    controller : TrainController
    """

    def __init__(self, session: Session, controller: TrainController) -> None:
        super().__init__()
        self.session, self.controller = session, controller
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        self.headline = wrapped()
        self.headline.setAccessibleName("The run that is shown")
        self.meaning = wrapped()
        self.meaning.setAccessibleName("What the F1 is of")
        self.loss_plot = TrainPlot(
            "Losses", "Loss of the training and of the validation, on a logarithmic axis", True, 140
        )
        self.score_plot = TrainPlot(
            "Scores", "F1, precision and recall of the spots on the validation crops", False, 104
        )
        self.triptych = Triptych()
        self.as_layers = QCheckBox("Show the validation crops as layers")
        tame(self.as_layers, "Show as layers", "x, output and y_c side by side in the viewer")
        self.as_layers.toggled.connect(self.controller.show_in_viewer)
        self.as_layers.setChecked(self.controller.in_viewer)
        self.save_button = button(
            "Save best as...", "Copy the best model so far to a file", self._save
        )
        self.use_button = button(
            "Use in Denoise", "Put the best model among your models and open Denoise with it",
            self._use,
        )  # fmt: skip
        self.picture_button = button(
            "Before / after", "Pictures of the model before and after", self._show_before_after
        )
        row = QHBoxLayout()
        for one in (self.save_button, self.use_button, self.picture_button):
            row.addWidget(one)
        row.addStretch()
        for widget in (self.headline, self.meaning, self.loss_plot, self.score_plot, self.triptych,
                       self.as_layers):  # fmt: skip
            column.addWidget(widget)
        column.addLayout(row)
        c = controller
        c.job.changed.connect(self.show_state)
        c.job.curve_changed.connect(self.show_curve)
        c.job.ended.connect(self.show_curve)
        c.pictured.connect(self._show_pictures)
        self.show_curve()
        if c.pictures is not None:
            self._show_pictures(*c.pictures)
        self.show_state()

    def show_state(self) -> None:
        """What may be done with the run."""
        job, measuring = self.controller.job, self.controller.measuring
        self.setVisible(job.run is not None and not measuring)
        best = job.run.best if job.run is not None and not measuring else None
        self.save_button.setEnabled(best is not None)
        self.use_button.setEnabled(best is not None and has_dock("Denoise"))
        done = job.run is not None and job.state == "done"
        self.picture_button.setVisible(done and job.run.picture.exists())

    def show_curve(self, *_: object) -> None:
        """Draw the curve as far as it is known, and say its best."""
        curve, run = self.controller.job.curve, self.controller.job.run
        best = curve.best_numbers
        words = f"<b>{run.title}</b>" if run is not None else ""
        if best:
            words += f": best F1 {best['f1']:.3f} at iteration {curve.best}"
            if "precision" in best:
                words += f" (precision {best['precision']:.3f}, recall {best['recall']:.3f})"
        elif run is not None:
            words += ": no validation yet"
        judged = run.before_after if run is not None and not self.controller.job.running else {}
        if judged:
            before, after = (judged[when]["f1"] for when in ("before", "after"))
            words += (
                f"<br>On {judged['after']['crops']} crops it did not learn from: "
                f"F1 {before:.3f} before, <b>{after:.3f} after</b>."
            )
        self.headline.setText(words)
        self.meaning.setVisible(bool(best))
        if best:
            self.meaning.setText(f"<small>{score_of(run, best.get('crops'))}</small>")
        star = None
        if curve.best is not None and best.get("loss") is not None:
            star = (curve.best, best["loss"])
        self.loss_plot.show_lines(loss_lines(curve), curve.stages, star, "best")
        star = (curve.best, best["f1"]) if best else None
        text = f"{best['f1']:.3f}" if best else ""
        self.score_plot.show_lines(score_lines(curve), curve.stages, star, text)
        if run is None or not curve.validations:
            self.triptych.show_pictures({})
        self.triptych.setVisible(bool(curve.validations))
        self.as_layers.setVisible(bool(curve.validations))

    def _show_pictures(self, iteration: int, pictures: dict) -> None:
        self.triptych.show_pictures(pictures)
        self.triptych.setToolTip(f"Validation at iteration {iteration}; click for the next crop")

    def _save(self) -> None:
        run = self.controller.job.run
        if run is None:
            return
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Save the best model",
            f"{plain_name(run.title)}.safetensors",
            "Models (*.safetensors)",
        )
        if path:
            target = Path(path)
            if target.suffix != ".safetensors":
                target = target.with_name(target.name + ".safetensors")
            self.controller.save_best(target)

    def _use(self) -> None:
        self.controller.use_best(self._open_denoise)

    def _open_denoise(self, path: Path) -> None:
        viewer = self.session.viewer
        if viewer is not None:
            panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Denoise", tabify=True)[1]
            panel.use_model(str(path))

    def _show_before_after(self) -> None:
        run = self.controller.job.run
        if run is None:
            return
        picture = QPixmap(str(run.picture))
        window = QDialog(self)
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        window.setWindowTitle(f"{run.title}: before and after")
        room = self.screen().availableSize() * 0.9
        shown = QLabel()
        fits = picture.width() <= room.width() and picture.height() <= room.height()
        smooth = Qt.TransformationMode.SmoothTransformation
        keep = Qt.AspectRatioMode.KeepAspectRatio
        shown.setPixmap(picture if fits else picture.scaled(room, keep, smooth))
        QVBoxLayout(window).addWidget(shown)
        window.show()
