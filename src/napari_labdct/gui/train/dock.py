"""The Train dock: what to train, its curve as it grows, and the model that comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from ...background import Card
from ...core.errors import LabDCTError
from ...core.jobs import Progress
from ...networks.library import list_models
from ...scan.scan import Scan
from ..app.background_sets import BackgroundSets
from ..app.docks import has_dock
from ..app.preferences import PLUGIN
from ..widgets.dock import Dock, button, wrapped
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from ..widgets.section import Section
from .controller import TrainController
from .form import TrainForm
from .plot import TrainPlot, Triptych, loss_lines, score_lines
from .runs import Listed, plain_name


@dataclass(frozen=True)
class Offered:
    """Models to start from with their networks, and devices to train on."""

    models: dict[str, str]
    devices: dict[str, str]


def look_around() -> Generator[Progress | Offered, None, None]:
    """Find models and devices; for a worker, since it loads torch."""
    from safetensors import SafetensorError, safe_open

    from ...networks.devices import devices

    yield Progress(0, 0, "Looking for models")
    found = {}
    for model in list_models():
        try:
            with safe_open(model.path, framework="pt") as file:
                found[model.name] = json.loads(file.metadata()["architecture"])["network"]
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            continue  # no model; the Denoise dock says so
    yield Offered(found, devices())


class TrainDock(Dock):
    """Training in a process of its own: plan, curve, pictures, model, earlier runs.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    needs_stack = False

    def build(self) -> None:
        self.controller: TrainController = self.session.controller(TrainController)
        self._backgrounds: BackgroundSets = self.session.controller(BackgroundSets)
        self._around = self.session.job("models and devices")
        self._runs: list[Listed] = []
        self.form = TrainForm()
        self.plan_section = Section("What to train", "Data, network, loss and time", open_=True)
        inside = QVBoxLayout(self.plan_section.inside)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.form)
        self.body.addWidget(self.plan_section)
        self._build_results()
        self._build_runs()
        job = self.controller.job
        self.run_bar = RunBar(job, "Train", "step", cancel=("Stop", "Stopping..."))
        self.run_bar.discard_button.setText("Close")
        tame(self.run_bar.discard_button, "Close", "Show no run; its files stay in the list")
        self.run_bar.run_requested.connect(self._train)
        self.run_bar.discard_requested.connect(job.discard)
        self.footer.addWidget(self.run_bar)

        self.form.changed.connect(self._show_plan)
        c = self.controller
        c.job.changed.connect(self._show_state)
        c.job.curve_changed.connect(self._show_curve)
        c.job.ended.connect(self._on_ended)
        c.pictured.connect(self._show_pictures)
        c.listed.connect(self._on_listed)
        c.said.connect(self.say)
        self._backgrounds.listed.connect(self._on_backgrounds)
        self._around.delivered.connect(self._on_offered)
        self._was_running = False
        self._show_plan()
        self._show_curve()
        if c.pictures is not None:
            self._show_pictures(*c.pictures)
        self._show_state()
        self._around.start(look_around, "Look for models")
        self._backgrounds.read()
        c.list_runs()

    # ----------------------------------------------------------------------- the widgets

    def _build_results(self) -> None:
        self.results = QWidget()
        column = QVBoxLayout(self.results)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        self.headline = wrapped()
        self.headline.setAccessibleName("The run that is shown")
        self.loss_plot = TrainPlot(
            "Losses", "Loss of the training and of the validation, on a logarithmic axis", True, 140
        )
        self.score_plot = TrainPlot(
            "Scores", "F1, precision and recall of the spots on crops never trained on", False, 104
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
        for widget in (self.headline, self.loss_plot, self.score_plot, self.triptych,
                       self.as_layers):  # fmt: skip
            column.addWidget(widget)
        column.addLayout(row)
        self.body.addWidget(self.results)

    def _build_runs(self) -> None:
        self.runs_section = Section("Earlier runs", "Trainings that ended, stopped or go on")
        column = QVBoxLayout(self.runs_section.inside)
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
        self.body.addWidget(self.runs_section)

    # ------------------------------------------------------------------------- the plan

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        """Take geometry and name of the scan."""
        self.form.set_scan(scan)

    def _on_offered(self, found: Offered) -> None:
        self.form.set_models(found.models, found.devices)

    def _on_backgrounds(self, found: list[tuple[Path, Card | str]]) -> None:
        usable = [(c.name, p) for p, c in found if not isinstance(c, str)]
        self.form.set_backgrounds(usable)

    def _show_plan(self) -> None:
        """Say what the time comes to, or why the plan cannot be carried out."""
        self.plan_section.say(self.form.kind.currentText())
        try:
            plan = self.form.plan()
        except LabDCTError as error:
            self.form.note.setText(str(error))
            self.run_bar.set_ready(False, str(error))
            return
        each, count = plan.seconds_each, plan.iterations
        if count is None:
            text = "The first iterations measure how many that is on this computer."
        else:
            text = f"{count} iterations"
            if each is not None:
                text += f", {each:.2g} s each as measured here"
                if plan.seconds is None:
                    text += f": about {_duration(count * each)}"
            text += "."
        self.form.note.setText(f"<small>{text}</small>")
        self.run_bar.set_ready(True)

    def _train(self) -> None:
        try:
            plan = self.form.plan()
            self.form.check_saved()
            self.controller.start(plan)
        except LabDCTError as error:
            self.say(str(error))

    # ----------------------------------------------------------------------- the running

    def _show_state(self) -> None:
        job = self.controller.job
        self.form.setEnabled(not job.running)
        if job.running and not self._was_running:
            self.plan_section.title.setChecked(False)
        self._was_running = job.running
        self.results.setVisible(job.run is not None and not self.controller.measuring)
        best = job.run.best if job.run is not None and not self.controller.measuring else None
        self.save_button.setEnabled(best is not None)
        self.use_button.setEnabled(best is not None and has_dock("Denoise"))
        done = job.run is not None and job.state == "done"
        self.picture_button.setVisible(done and job.run.picture.exists())

    def _on_ended(self, _state: str) -> None:
        self._show_curve()
        self._show_plan()  # the speed is known better now

    def _show_curve(self) -> None:
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

    # ------------------------------------------------------------------------- the model

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

    # -------------------------------------------------------------------------- the runs

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
        self.runs_section.say(text + (f", {unfinished} can go on" if unfinished else ""))
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
            self.say("Stop the training that is shown before you look at another one.")
            return
        self.controller.show(chosen)
        self.plan_section.title.setChecked(False)

    def _add_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of a training")
        if path:
            self.add_folder(Path(path))

    def add_folder(self, folder: Path) -> None:
        """List a training that was started by ``labdct train``."""
        if (folder / "recipe.json").exists():
            self.controller.add_folder(folder)
        else:
            self.say(f"{folder} holds no training; choose a folder that labdct train made.")

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


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, seconds / 60):.0f} min"
    return f"{seconds / 3600:.1f} h"
