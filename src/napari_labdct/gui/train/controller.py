"""What the Train dock runs: a plan becomes a run, first measured, then trained and followed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from ...core.jobs import Progress
from ...core.parameters import arguments_of
from ...networks.library import user_models_dir
from ...training.settings import TrainSettings
from ..app import preferences
from ..app.job import LatestJob
from .crop_layers import CropLayers
from .process import TrainingJob
from .runs import Curve, Listed, Run, copy_model, free_path, list_runs, load_pictures
from .tasks import Plan

if TYPE_CHECKING:
    from ..app.session import Session

_MEASURED_ITERATIONS = 10
_MEASURED_S = 20.0
_ENOUGH = 4  # iterations of which the speed can be told


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
        self._before: tuple[Run, str] | None = None  # what was shown before the measurement
        self._measuring = False
        self._cut_short = False  # a slow measurement was ended here, and not by the user
        self._seen = (-1, -1)
        self._lists = LatestJob(self.list_job, lambda _: (self._listed, "List trainings"))
        self._loads = LatestJob(self.pictures_job, _load_pictures)
        self._pictures: tuple[int, dict[str, np.ndarray]] | None = None
        self._crops = CropLayers(session)
        self._then: Callable[[Path], None] | None = None
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
        self._measuring, self._cut_short = True, False
        self._before = None if self.job.run is None else (self.job.run, self.job.state)
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
            slow = curve.done >= _ENOUGH and curve.seconds[-1] > _MEASURED_S
            if slow and self.job.state == "running":
                self._cut_short = True
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
        if (state == "done" or (state == "stopped" and self._cut_short)) and curve.seconds_each:
            plan.remember_speed(curve.seconds_each)
            self._train(plan)
        elif state == "stopped":
            self._say_unmeasured(plan, curve)
        else:  # what failed was the measurement; going on with it would train ten iterations
            self.job.run = None
            self.job.changed.emit()

    def _say_unmeasured(self, plan: Plan, curve: Curve) -> None:
        """The user stopped the measurement: what came of it, and what was shown before."""
        kept = "nothing was learned and there is nothing to resume"
        if curve.done >= _ENOUGH and curve.seconds_each:
            plan.remember_speed(curve.seconds_each)
            kept += (
                f"; the speed measured so far ({curve.seconds_each:.2g} s an iteration) is kept, "
                "so Train begins at once"
            )
        else:
            kept += "; Train measures anew"
        before, self._before = self._before, None
        self.job.discard()
        if before is not None:
            self._seen = (-1, -1)
            self.job.show_run(*before)
        self.said.emit(
            f"Stopped while the speed of this computer was measured, before the training: {kept}. "
            "Your earlier runs and models are as they were."
        )

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
        self._crops.show(*thing)

    @property
    def pictures(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Iteration and pictures that were loaded last."""
        return self._pictures

    @property
    def in_viewer(self) -> bool:
        """Whether the validation crops are wanted as layers."""
        return self._crops.on

    def show_in_viewer(self, on: bool) -> None:
        """Show the validation crops as layers, or take them away."""
        self._crops.on = on
        if not on:
            self._crops.remove()
        elif self._pictures is not None:
            self._crops.show(*self._pictures)


def _load_pictures(run: Run):
    return lambda: load_pictures(run), "Validation pictures"
