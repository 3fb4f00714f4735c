"""What the Train dock runs: a plan becomes a run, first measured, then trained and followed."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from ...core.jobs import Progress
from ...core.parameters import arguments_of
from ...networks.library import user_models_dir
from ...training.crops.reviewed_pairs import FineTuneSettings
from ...training.settings import TrainSettings
from ..app import layers as factory
from ..app import preferences
from ..app.job import LatestJob
from .plot import stretched
from .process import TrainingJob
from .runs import Listed, Run, copy_model, free_path, list_runs, load_pictures

if TYPE_CHECKING:
    from ..app.session import Session

#: Part of the time that goes into iterations; the rest into starting, validations, files.
_WORKING_PART = 0.85
_MEASURED_ITERATIONS = 10
_MEASURED_S = 20.0
_GAP_PX = 8
#: The triptych: captions of the layers and names in the file of pictures.
_COLUMNS = {"x": "frame", "output": "output", "y_c": "target"}


@dataclass(frozen=True)
class Plan:
    """A training as the dock asks for it.

    Parameters
    ----------
    title : str
    command : str
        ``train`` or ``finetune``.
    settings : TrainSettings or FineTuneSettings
    more : tuple of str
        All other arguments of the command.
    seconds : float, optional
        How long it may take; without it ``settings.iterations`` counts.
    same_speed : tuple of str
        Arguments of a ``labdct train`` whose iterations take as long.
    keep_going : bool
        It outlives the window.
    """

    title: str
    command: str
    settings: TrainSettings | FineTuneSettings
    more: tuple[str, ...]
    seconds: float | None
    same_speed: tuple[str, ...]
    keep_going: bool = False

    @property
    def seconds_each(self) -> float | None:
        """Time of an iteration as measured last on this computer."""
        value = preferences.load_last("train_speed").get(" ".join(self.same_speed))
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    @property
    def iterations(self) -> int | None:
        """How many there will be; None until the speed was measured."""
        if self.seconds is None:
            return self.settings.iterations
        each = self.seconds_each
        return None if each is None else max(10, int(_WORKING_PART * self.seconds / each))

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of the command, once the number of iterations is known."""
        settings = paced(self.settings, self.iterations or self.settings.iterations)
        return (*self.more, *arguments_of(settings))

    def remember_speed(self, seconds: float) -> None:
        """Keep what an iteration took, for the next plan."""
        known = preferences.load_last("train_speed")
        known[" ".join(self.same_speed)] = round(seconds, 5)
        preferences.save_last("train_speed", known)


def paced(
    settings: TrainSettings | FineTuneSettings, iterations: int
) -> TrainSettings | FineTuneSettings:
    """Settings for another number of iterations: about 20 validations and 100 reports.

    What the user set by hand stays.
    """
    usual = type(settings)()
    wanted = {
        "iterations": iterations,
        "warmup": min(usual.warmup, iterations // 10),
        "validate_every": max(1, iterations // 20),
        "checkpoint_every": min(usual.checkpoint_every, max(1, iterations // 20)),
        "report_every": max(1, min(50, iterations // 100)),
    }
    changes = {
        name: value
        for name, value in wanted.items()
        if hasattr(settings, name)
        and (name == "iterations" or getattr(settings, name) == getattr(usual, name))
    }
    return settings.replace(**changes)


class TrainController(QObject):
    """The training of one viewer, and the list of runs.

    Attributes
    ----------
    listed : signal(list of Listed)
    pictured : signal(int, dict)
        Validation pictures and the iteration they are of.
    said : signal(str)
    """

    listed = Signal(object)
    pictured = Signal(int, object)
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = TrainingJob(self)
        self.list_job = session.job("training runs")
        self.pictures_job = session.job("training pictures")
        self.file_job = session.job("training files")
        self._plan: Plan | None = None
        self._measuring = False
        self._seen = (-1, -1)
        self._lists = LatestJob(self.list_job, lambda _: (self._listed, "List trainings"))
        self._loads = LatestJob(self.pictures_job, _load_pictures)
        self._pictures: tuple[int, dict[str, np.ndarray]] | None = None
        self._layers: list[weakref.ref[Layer]] = []
        self._then: Callable[[Path], None] | None = None
        self.in_viewer = False
        self.list_job.delivered.connect(self.listed)
        self.pictures_job.delivered.connect(self._on_pictures)
        self.file_job.delivered.connect(self._on_saved)
        self.file_job.ended.connect(self._on_file_ended)
        self.job.curve_changed.connect(self._on_curve)
        self.job.ended.connect(self._on_ended)
        session.closing.connect(self.job.close)

    # ------------------------------------------------------------------------- running

    @property
    def measuring(self) -> bool:
        """Whether the speed of this computer is being measured just now."""
        return self._measuring

    def start(self, plan: Plan) -> None:
        """Start a training, after measuring how long an iteration takes if nobody knows."""
        if self.job.running:
            return
        self._plan = plan
        if plan.iterations is None:
            self._measure(plan)
        else:
            self._train(plan)

    def _measure(self, plan: Plan) -> None:
        folder = preferences.trainings_folder() / ".speed"
        shutil.rmtree(folder, ignore_errors=True)
        few = TrainSettings(
            iterations=_MEASURED_ITERATIONS, report_every=1, validation_crops=1, warmup=0,
            validate_every=_MEASURED_ITERATIONS, checkpoint_every=_MEASURED_ITERATIONS,
        )  # fmt: skip
        self._measuring = True
        run = Run(folder, "train", plan.title, (*plan.same_speed, *arguments_of(few)))
        self.job.start_run(run)

    def _train(self, plan: Plan) -> None:
        folder = free_path(preferences.trainings_folder(), plan.title)
        run = Run(folder, plan.command, plan.title, plan.arguments)
        self.job.start_run(run, plan.keep_going)
        self.list_runs()

    def _on_curve(self) -> None:
        curve = self.job.curve
        if self._measuring:
            self.job.note = "Measuring how fast this computer is."
            if curve.done >= 4 and curve.seconds[-1] > _MEASURED_S:
                self.job.cancel()
            return
        now = (len(curve.validations), curve.done if curve.complete else 0)
        if now != self._seen:
            self._seen = now
            if self.job.run is not None:
                self._loads.ask(self.job.run)

    def _on_ended(self, state: str) -> None:
        curve, plan = self.job.curve, self._plan
        if not self._measuring:
            if plan is not None and curve.seconds_each:
                plan.remember_speed(curve.seconds_each)
            self.list_runs()
            return
        self._measuring = False
        asked_by_us = state == "stopped" and curve.done >= 4 and curve.seconds[-1] > _MEASURED_S
        if (state == "done" or asked_by_us) and curve.seconds_each:
            plan.remember_speed(curve.seconds_each)
            self._train(plan)
        elif state == "stopped":
            self.job.discard()
        else:  # what failed was the measurement; going on with it would train ten iterations
            self.job.run = None
            self.job.changed.emit()

    def show(self, listed: Listed) -> None:
        """Show another run: its curve, its pictures, and Resume if it can go on."""
        if not self.job.running:
            self._plan = None
            self._seen, self._pictures = (-1, -1), None
            self.job.show_run(listed.run, listed.state)

    # ------------------------------------------------------------------------ the list

    def folders(self) -> list[Path]:
        """Folders of all runs that are known."""
        root = preferences.trainings_folder()
        own = [p for p in root.iterdir() if not p.name.startswith(".")] if root.is_dir() else []
        added = preferences.load_last("trainings").get("added", [])
        return [*own, *(Path(p) for p in added if Path(p) not in own)]

    def list_runs(self) -> None:
        """Look at all runs, in a worker; see `listed`."""
        self._lists.ask(None)

    def _listed(self) -> Generator[Any, None, None]:
        return list_runs(self.folders())

    def add_folder(self, folder: Path) -> None:
        """List a training that was started by a command."""
        added = preferences.load_last("trainings").get("added", [])
        preferences.save_last("trainings", {"added": [*{*added, str(folder)}]})
        self.list_runs()

    def delete(self, run: Run) -> None:
        """Delete the files of a run, or forget a folder that was added."""
        if self.job.running and self.job.run is not None and self.job.run.folder == run.folder:
            return
        if self.job.run is not None and self.job.run.folder == run.folder:
            self.job.discard()
        if preferences.trainings_folder() in run.folder.parents:
            shutil.rmtree(run.folder, ignore_errors=True)
        else:
            added = preferences.load_last("trainings").get("added", [])
            kept = [p for p in added if Path(p) != run.folder]
            preferences.save_last("trainings", {"added": kept})
        self.list_runs()

    # ----------------------------------------------------------------------- the model

    def use_best(self, then: Callable[[Path], None]) -> None:
        """Put the best model among the user's models, then go on with its file."""
        run = self.job.run
        if run is not None:
            self.save_best(free_path(user_models_dir(), run.title, ".safetensors"), then)

    def save_best(self, target: Path, then: Callable[[Path], None] | None = None) -> None:
        """Copy the best model to a file, in a worker, then go on with it; says where it is."""
        run = self.job.run
        if run is None or run.best is None or self.file_job.running:
            return
        source, self._then = run.best, then

        def copy() -> Generator[Progress | Path, None, None]:
            yield Progress(0, 1)
            copy_model(source, target)
            yield Progress(1, 1, f"Saved as {target}.")
            yield target

        self.file_job.start(copy, "Save model")

    def _on_file_ended(self, state: str) -> None:
        self.said.emit(self.file_job.error if state == "failed" else self.file_job.note)
        self._then = None

    def _on_saved(self, path: Path) -> None:
        if self._then is not None:
            self._then(path)

    # -------------------------------------------------------------------- the pictures

    def _on_pictures(self, thing: tuple[int, dict[str, np.ndarray]]) -> None:
        self._pictures = thing
        self.pictured.emit(*thing)
        if self.in_viewer:
            self._show_layers()

    @property
    def pictures(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Iteration and pictures that were loaded last."""
        return self._pictures

    def show_in_viewer(self, on: bool) -> None:
        """Show the validation crops as layers, or take them away."""
        self.in_viewer = on
        if on:
            self._show_layers()
            return
        viewer = self._session.viewer
        for ref in self._layers:
            if viewer is not None and self._session.contains(layer := ref()):
                viewer.layers.remove(layer)
        self._layers = []

    def _show_layers(self) -> None:
        viewer = self._session.viewer
        if viewer is None or self._pictures is None:
            return
        iteration, pictures = self._pictures
        shown = [layer for ref in self._layers if self._session.contains(layer := ref())]
        columns = {name: mosaic(pictures[key]) for name, key in _COLUMNS.items()}
        same = len(shown) == len(columns) and shown[0].data.shape == columns["x"].shape
        if same:
            for layer, data in zip(shown, columns.values(), strict=True):
                layer.data = data
        else:
            self.show_in_viewer(False)
            self.in_viewer = True
            shown = _columns_of_layers(columns, self._session.stack)
            for layer in shown:
                viewer.layers.append(layer)
            self._layers = [weakref.ref(layer) for layer in shown]
            viewer.reset_view()
        for layer in shown:
            factory.remember(layer, kind="validation", iteration=iteration)


def mosaic(stack: np.ndarray) -> np.ndarray:
    """Crops ``(k, n, n)`` under one another, 0 to 255; those of counts each stretched alone."""
    tiles = [np.pad(stretched(image), ((0, _GAP_PX), (0, 0))) for image in stack]
    return np.concatenate(tiles)[:-_GAP_PX]


def _columns_of_layers(columns: dict[str, np.ndarray], stack: Layer | None) -> list[Image]:
    """The columns side by side, as high as the scan and at its right if one is open."""
    scale, corner, units = np.ones(2), np.zeros(2), None
    rows, cols = columns["x"].shape
    if stack is not None:
        own_rows, own_cols = stack.data.shape[-2:]
        scale = np.asarray(stack.scale)[-2:] * own_rows / rows
        right = 1.05 * own_cols * stack.scale[-1]
        corner = np.asarray(stack.translate)[-2:] + np.array([0, right])
        units = stack.units[-2:]
    made = []
    for number, (name, data) in enumerate(columns.items()):
        shift = corner + scale * np.array([0, number * (cols + _GAP_PX)])
        layer = Image(
            data, name=f"validation [{name}]", contrast_limits=(0, 255), scale=scale,
            translate=shift, units=units,
        )  # fmt: skip
        factory.remember(layer, kind="validation")
        made.append(layer)
    return made


def _load_pictures(run: Run):
    return lambda: load_pictures(run), "Validation pictures"
